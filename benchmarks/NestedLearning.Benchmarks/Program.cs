using System.Diagnostics;
using System.Text.Json;
using BenchmarkDotNet.Columns;
using BenchmarkDotNet.Configs;
using BenchmarkDotNet.Filters;
using BenchmarkDotNet.Jobs;
using BenchmarkDotNet.Loggers;
using BenchmarkDotNet.Reports;
using BenchmarkDotNet.Running;
using BenchmarkDotNet.Toolchains.InProcess.Emit;
using NestedLearning;
using NestedLearning.Benchmarks;
using NestedLearning.CommandLine;
using NestedLearning.CommandLine.Bench;
using NestedLearning.CommandLine.Streaming;
using Perfolizer.Horology;

// No arguments: every case, the results into benchmarks/results/<machine>/.
// Names of cases: only these, and nothing is kept, so that a table is always from one run.
// --fused-commit: a weight's gradient and its commit, one after the other and in one; ours alone, kept in fused-commit.md.
// --table: the README's table from what is kept.
// The peer is measured twice: here as it comes, then in a second process with the environment that suits it best.
// BenchmarkDotNet runs in this process and not in one it builds: that would lack TorchSharp's mended native library.
const string OnlyPeer = "NESTED_LEARNING_BENCH_ONLY_PEER";

// Neighbours on the machine come and go: everything is measured in so many rounds, of which the medians are kept.
const int Rounds = 3;

string root = RepositoryCode.FindRoot(AppContext.BaseDirectory)
    ?? throw new InvalidOperationException("The benchmarks run inside the repository alone.");
string results = Path.Combine(root, "benchmarks", "results"), artifacts = Path.Combine(root, "artifacts", "benchmarks");
if (args is ["--table"])
{
    ResultTable.WriteReadme(Path.Combine(root, "README.md"), results);
    return 0;
}

if (args is ["--fused-commit"])
{
    using Device own = Device.Open();
    string table = FusedCommit.Measure(own),
        folder = Directory.CreateDirectory(Path.Combine(results, BenchmarkResults.MachineName())).FullName;
    Console.WriteLine(table);
    SafeFile.WriteText(Path.Combine(folder, "fused-commit.md"), table);
    return 0;
}

HashSet<string> cases;
bool failed = false;
try
{
    cases = [.. (args.Length > 0 ? args.Select(BenchCase.Find) : BenchCase.All).Select(c => c.Name)];
}
catch (CaseException e)
{
    Console.Error.WriteLine(e.Message);
    return 2;
}

if (Environment.GetEnvironmentVariable(OnlyPeer) is { Length: > 0 } file)
{
    SafeFile.WriteText(file, JsonSerializer.Serialize(Measure(nameof(PeerBenchmark.Torch))
        .GetValueOrDefault(nameof(PeerBenchmark.Torch), [])));
    return failed ? 1 : 0;
}

using Device device = Device.Open();
MachineLimits limits = MachineLimits.Measure(device);
string? stockAbsence = Peer.Absence;
Dictionary<string, string>? environment = Peer.BestEnvironment(artifacts, out string? bestAbsence);
string[] sides = stockAbsence is null ? [nameof(PeerBenchmark.Torch), nameof(OperationBenchmark.Ours)] : [nameof(OperationBenchmark.Ours)];
List<Dictionary<string, double>> ours = [], stock = [], best = [];
for (int round = 0; round < Rounds; round++)
{
    Dictionary<string, Dictionary<string, double>> measured = Measure(sides);
    ours.Add(measured.GetValueOrDefault(nameof(OperationBenchmark.Ours), []));
    stock.Add(measured.GetValueOrDefault(nameof(PeerBenchmark.Torch), []));
    if (environment is not null)
        best.Add(MeasureBest(environment));
    limits = MachineLimits.Best(limits, MachineLimits.Measure(device));
}

BenchmarkResults kept = BenchmarkResults.Create($"{device.Name}, {device.Description}", limits, stockAbsence, bestAbsence, Medians(ours),
    Medians(stock), Medians(best));
kept = kept with { Idle = MeasureIdle() };
Console.WriteLine();
Console.WriteLine(ResultTable.Markdown(kept));
if (failed)
    Console.Error.WriteLine("Something could not be measured, or the two sides differ: see above. Nothing is written.");
else if (args.Length == 0)
    Console.WriteLine($"written: {kept.Save(results)}");
return failed ? 1 : 0;

// A round takes five minutes: an iteration is a tenth of a second or one call.
ManualConfig Config() => ManualConfig.CreateEmpty().AddLogger(ConsoleLogger.Default).AddColumnProvider(DefaultColumnProviders.Instance)
    .WithArtifactsPath(artifacts).WithOptions(ConfigOptions.JoinSummary)
    .AddJob(Job.Default.WithToolchain(new InProcessEmitToolchain(TimeSpan.FromMinutes(10), logOutput: true))
        .WithWarmupCount(2).WithIterationCount(9).WithIterationTime(TimeInterval.FromMilliseconds(100)).WithEvaluateOverhead(false));

// The median of each method and case, in milliseconds.
Dictionary<string, Dictionary<string, double>> Measure(params string[] methods)
{
    IConfig config = Config().AddFilter(new SimpleFilter(b =>
        methods.Contains(b.Descriptor.WorkloadMethod.Name) && cases.Contains(CaseOf(b))));
    IEnumerable<Type> types = typeof(OperationBenchmark).Assembly.GetTypes()
        .Where(t => t.IsSubclassOf(typeof(OperationBenchmark)) && !t.IsAbstract);
    BenchmarkReport[] reports = [.. BenchmarkRunner.Run([.. types], config).SelectMany(s => s.Reports)];
    failed |= reports.Any(r => r.ResultStatistics is null);
    return reports.Where(r => r.ResultStatistics is not null).GroupBy(r => r.BenchmarkCase.Descriptor.WorkloadMethod.Name)
        .ToDictionary(g => g.Key, g => g.ToDictionary(r => CaseOf(r.BenchmarkCase), r => r.ResultStatistics!.Median * 1e-6));
}

// In turns with their twins, as nl bench does.
IdleRow[] MeasureIdle() =>
[
    .. BenchCase.All.Where(c => c.Twin is not null && cases.Contains(c.Name)).Select(c =>
    {
        using var tensors = new BenchTensors(device);
        using var ordinary = new BenchTensors(device);
        (double idle, double twin) = BenchTimer.Medians(c.Prepare(tensors), c.Twin!(ordinary), TimeSpan.FromSeconds(10));
        return new IdleRow(c.Name, c.Title, twin, idle);
    }),
];

Dictionary<string, double> MeasureBest(Dictionary<string, string> environment)
{
    string file = Path.Combine(artifacts, "best.json");
    File.Delete(file);
    var start = new ProcessStartInfo("dotnet", [typeof(OperationBenchmark).Assembly.Location, .. cases]);
    start.Environment[OnlyPeer] = file;
    foreach ((string name, string value) in environment)
        start.Environment[name] = value;
    using Process process = Process.Start(start)!;
    process.WaitForExit();
    failed |= process.ExitCode != 0;
    return File.Exists(file) ? JsonSerializer.Deserialize<Dictionary<string, double>>(File.ReadAllText(file))! : [];
}

static Dictionary<string, double> Medians(List<Dictionary<string, double>> rounds) =>
    rounds.SelectMany(r => r).GroupBy(r => r.Key, r => r.Value).ToDictionary(g => g.Key, g => g.Order().ElementAt(g.Count() / 2));

static string CaseOf(BenchmarkCase benchmark) => (string)benchmark.Parameters[nameof(OperationBenchmark.CaseName)];
