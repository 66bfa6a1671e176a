using BenchmarkDotNet.Configs;
using BenchmarkDotNet.Running;
using NestedLearning.Benchmarks;

// Times depend on the machine: results are kept beside its name and the versions that BenchmarkDotNet prints.
BenchmarkSwitcher.FromAssembly(typeof(DeviceBenchmark).Assembly).Run(args, DefaultConfig.Instance);
