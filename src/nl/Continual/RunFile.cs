using System.Text;
using System.Text.Json;
using NestedLearning.CommandLine.Streaming;

namespace NestedLearning.CommandLine.Continual;

/// <summary>The finished runs of a command, one a line, written as they come.</summary>
internal sealed class RunFile : IDisposable
{
    private readonly string _path;
    private readonly FileStream _file;
    private readonly List<RunRecord> _runs = [];
    private readonly Lock _lock = new();

    private RunFile(string path, FileStream file) => (_path, _file) = (path, file);

    /// <summary>Opens it, with what it has or empty.</summary>
    /// <exception cref="StreamException">It cannot be opened, or a line is no run; the message names it.</exception>
    public static RunFile Open(string path, bool resume)
    {
        try
        {
            Directory.CreateDirectory(Path.GetDirectoryName(Path.GetFullPath(path))!);
            var file = new RunFile(path, new FileStream(path, resume ? FileMode.OpenOrCreate : FileMode.Create, FileAccess.ReadWrite,
                FileShare.Read));
            try
            {
                file.Read();
                return file;
            }
            catch
            {
                file.Dispose();
                throw;
            }
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            throw new StreamException($"The file of runs '{path}' cannot be opened: {e.Message}", e);
        }
    }

    /// <summary>The runs, in the order in which they ended.</summary>
    public IReadOnlyList<RunRecord> Runs
    {
        get
        {
            lock (_lock)
                return [.. _runs];
        }
    }

    /// <summary>Appends a run, from any thread.</summary>
    /// <exception cref="StreamException">It cannot be written.</exception>
    public void Add(RunRecord run)
    {
        lock (_lock)
        {
            try
            {
                _file.Write(Encoding.UTF8.GetBytes(JsonSerializer.Serialize(run, RunRecord.Json) + "\n"));
                _file.Flush(flushToDisk: true);
            }
            catch (IOException e)
            {
                throw new StreamException($"The file of runs '{_path}' cannot be written: {e.Message}", e);
            }

            _runs.Add(run);
        }
    }

    public void Dispose() => _file.Dispose();

    private void Read()
    {
        byte[] all = new byte[_file.Length];
        _file.ReadExactly(all);
        int begin = 0;
        for (int number = 1; begin < all.Length; number++)
        {
            int length = all.AsSpan(begin).IndexOf((byte)'\n');
            if (length < 0)
            {
                // The process ended while it wrote the line.
                _file.SetLength(begin);
                _file.Position = begin;
                return;
            }

            try
            {
                _runs.Add(JsonSerializer.Deserialize<RunRecord>(all.AsSpan(begin, length), RunRecord.Json)
                    ?? throw new JsonException("it is null"));
            }
            catch (JsonException e)
            {
                throw new StreamException($"'{_path}', line {number}: this is no run: {e.Message}", e);
            }

            begin += length + 1;
        }
    }
}
