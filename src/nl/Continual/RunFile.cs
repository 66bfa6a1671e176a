using System.Text.Json;
using NestedLearning.CommandLine.Streaming;

namespace NestedLearning.CommandLine.Continual;

/// <summary>The finished runs of a command, one a line, written whole after each.</summary>
internal sealed class RunFile
{
    private readonly string _path;
    private readonly List<RunRecord> _runs = [];
    private readonly Lock _lock = new();

    private RunFile(string path) => _path = path;

    /// <summary>Opens it, with what it has or empty.</summary>
    /// <exception cref="StreamException">It cannot be read or written, or a line is no run; the message names it.</exception>
    public static RunFile Open(string path, bool resume)
    {
        var file = new RunFile(path);
        try
        {
            Directory.CreateDirectory(Path.GetDirectoryName(Path.GetFullPath(path))!);
            if (resume && File.Exists(path))
                file.Read();
            file.Write();
            return file;
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

    /// <summary>Adds a run, from any thread.</summary>
    /// <exception cref="StreamException">It cannot be written; the file is as it was.</exception>
    public void Add(RunRecord run)
    {
        lock (_lock)
        {
            _runs.Add(run);
            try
            {
                Write();
            }
            catch (Exception e) when (e is IOException or UnauthorizedAccessException)
            {
                _runs.RemoveAt(_runs.Count - 1);
                throw new StreamException($"The file of runs '{_path}' cannot be written: {e.Message}", e);
            }
        }
    }

    private void Write() => SafeFile.WriteText(_path, string.Concat(_runs.Select(r => JsonSerializer.Serialize(r, RunRecord.Json) + "\n")));

    private void Read()
    {
        // What stands behind the last line end is of a file that was cut, and is run again.
        string[] lines = File.ReadAllText(_path).Split('\n')[..^1];
        for (int i = 0; i < lines.Length; i++)
        {
            try
            {
                _runs.Add(JsonSerializer.Deserialize<RunRecord>(lines[i], RunRecord.Json) ?? throw new JsonException("it is null"));
            }
            catch (JsonException e)
            {
                throw new StreamException($"'{_path}', line {i + 1}: this is no run: {e.Message}", e);
            }
        }
    }
}
