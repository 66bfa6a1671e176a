using System.Diagnostics;
using System.Runtime.InteropServices;

namespace NestedLearning.Reliability;

/// <summary>
/// <c>nl stream</c> with checkpoints, killed (SIGKILL) at a random moment and resumed, over and over: at its end the learner
/// is that of a stream that nothing stopped, bit for bit.
/// </summary>
internal static class Kills
{
    private const int BytesOfStream = 40_000, BytesOfCheckpoint = 2_000;

    public static int Run(int kills)
    {
        string folder = Directory.CreateTempSubdirectory("kills-").FullName;
        try
        {
            string whole = Path.Combine(folder, "whole"), killed = Path.Combine(folder, "killed");
            var clock = Stopwatch.StartNew();
            if (Stream(whole, resume: false, killAfter: null) != 0)
                throw new InvalidOperationException("The stream that nothing stops failed.");
            int longest = (int)clock.ElapsedMilliseconds;
            var expected = SafetensorsFile.Load(Checkpoint(whole));
            var random = new Random(1);
            int done = 0, finished = 0;
            bool resume = false;
            while (done < kills)
            {
                int status = Stream(killed, resume, killAfter: random.Next(200, longest));
                if (status == 0)
                {
                    finished++;
                    if (!AreSame(expected, SafetensorsFile.Load(Checkpoint(killed))))
                    {
                        Console.Error.WriteLine($"after {done} kills the checkpoint differs");
                        return 1;
                    }

                    Directory.Delete(killed, recursive: true);
                }
                else if (status == Killed)
                {
                    done++;
                }
                else
                {
                    Console.Error.WriteLine($"after {done} kills it ends with status {status}");
                    return 1;
                }

                resume = File.Exists(Checkpoint(killed));
            }

            Console.WriteLine($"{done} kills at random moments, {finished} streams that went on to their end with the same " +
                "bits");
            return 0;
        }
        finally
        {
            Directory.Delete(folder, recursive: true);
        }
    }

    private const int Killed = 128 + 9;

    // All but what the run itself keeps, such as its time.
    private static bool AreSame(SafetensorsFile one, SafetensorsFile other) =>
        one.Names.SequenceEqual(other.Names) && one.Names.Where(name => !name.Contains("run.", StringComparison.Ordinal)).All(name =>
            one.HoldsFloats(name)
                ? MemoryMarshal.AsBytes(one.Floats(name)).SequenceEqual(MemoryMarshal.AsBytes(other.Floats(name)))
                : one.Integers(name, one.ShapeOf(name).ElementCount).SequenceEqual(other.Integers(name, one.ShapeOf(name).ElementCount)));

    private static string Checkpoint(string folder) => Path.Combine(folder, "stream.safetensors");

    private static int Stream(string folder, bool resume, int? killAfter)
    {
        string[] resumed = resume ? ["--resume"] : [];
        using Process process = Process.Start(new ProcessStartInfo(
            "dotnet",
            [
                Path.Combine(AppContext.BaseDirectory, "nl.dll"), "stream", Path.Combine(Repository.Root, "docs"),
                "--bytes", $"{BytesOfStream}",
                "--learners", "hope", "--out", folder, "--checkpoint-every", $"{BytesOfCheckpoint}", "--quiet", .. resumed,
            ])
        {
            RedirectStandardOutput = true,
            RedirectStandardError = true,
        })!;
        process.OutputDataReceived += static (_, _) => { };
        process.BeginOutputReadLine();
        Task<string> error = process.StandardError.ReadToEndAsync();
        if (killAfter is { } after && !process.WaitForExit(after))
            process.Kill();
        process.WaitForExit();
        if (process.ExitCode is not (0 or Killed))
            Console.Error.WriteLine(error.Result);
        return process.ExitCode;
    }
}
