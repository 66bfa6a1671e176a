using System.Text;
using NestedLearning.Testing;
using Xunit;

namespace NestedLearning.CommandLine.Tests;

public abstract class OpCommandTests(string backend) : BackendTests(backend)
{
    // Not made where the backend's absence skips the test, which then is never disposed.
    private TemporaryFolder? _folder;

    private TemporaryFolder Folder => _folder ??= new TemporaryFolder();

    [Theory]
    [InlineData("adamw")]
    [InlineData("scan")]
    [InlineData("delta-momentum")]
    [InlineData("dgd")]
    [InlineData("commit")]
    public void Result_IsWhatTheEquationsGive(string operation)
    {
        SafetensorsFile expected = Case(operation), result = RunCase(expected);
        string[] names = [.. expected.Names.Where(n => n.StartsWith("out.", StringComparison.Ordinal))];
        Assert.Equal(names, result.Names);
        foreach (string name in names)
        {
            Assert.Equal(expected.ShapeOf(name), result.ShapeOf(name));
            Compare.Close(name, result.Floats(name), expected.Floats(name), 1e-6);
        }
    }

    [Fact]
    public void Result_CarriesTheOperationAndItsSettings()
    {
        SafetensorsFile file = Cases.AdamW();
        Assert.Equal(file.Metadata, RunCase(file).Metadata);
    }

    [Fact]
    public void Results_PassTheCheckWithTheirOwnInputs()
    {
        SafetensorsFile file = Cases.AdamW(), result = RunCase(file), whole = new();
        foreach (string name in file.Names.Where(n => n.StartsWith("in.", StringComparison.Ordinal)))
            whole.Add(name, file.ShapeOf(name), file.Floats(name));
        foreach (string name in result.Names)
            whole.Add(name, result.ShapeOf(name), result.Floats(name));
        foreach ((string key, string value) in result.Metadata)
            whole.Metadata[key] = value;
        whole.Save(Folder.File("whole.safetensors"));

        CommandLineRun run = CommandLineRun.Of("check", Folder.File("whole.safetensors"), "--device", Device.Name);
        Assert.Equal("", run.Error);
        Assert.Equal(ExitStatus.Success, run.Status);
        Assert.Equal(3, run.Output.Split("0.0e+00").Length - 1);
    }

    [Fact]
    public void ScanChunk_IsOptionalAndChangesNoResult()
    {
        SafetensorsFile file = Cases.LinearAttention();
        SafetensorsFile whole = RunCase(file), single = RunCase(Cases.Edit(file, null, ("chunk", "1")));
        Compare.Close("o", single.Floats("out.o"), whole.Floats("out.o"), 1e-6);
        Compare.Close("s", single.Floats("out.s"), whole.Floats("out.s"), 1e-6);
    }

    /// <summary>Files of other programs: float64 numbers, int32 tokens, and tensors beside that nobody asks for.</summary>
    [Fact]
    public void TensorsOfOtherTypes_AreConvertedOrLeft()
    {
        string header = ("{'__metadata__': {'op': 'embedding'}, 'model.mask': {'dtype': 'BOOL', 'shape': [3], 'data_offsets': [40, 43]}, " +
            "'in.table': {'dtype': 'F64', 'shape': [2, 2], 'data_offsets': [0, 32]}, 'in.tokens': {'dtype': 'I32', 'shape': [2], " +
            "'data_offsets': [32, 40]}, 'out.y': {'dtype': 'F4', 'shape': [2], 'data_offsets': [43, 44]}}").Replace('\'', '"');
        byte[] table = [.. ((double[])[0.5, -1, 2, 0.25]).SelectMany(BitConverter.GetBytes)];
        string input = Folder.File("case.safetensors"), output = Folder.File("result.safetensors");
        File.WriteAllBytes(input, [.. BitConverter.GetBytes((long)header.Length), .. Encoding.ASCII.GetBytes(header), .. table,
            1, 0, 0, 0, 0, 0, 0, 0, 1, 0, 1, 0x5A]);
        CommandLineRun run = CommandLineRun.Of("op", input, "--out", output, "--device", Device.Name);
        Assert.Equal("", run.Error);
        SafetensorsFile result = SafetensorsFile.Load(output);
        Assert.Equal([2, 0.25f, 0.5f, -1], result.Floats(Assert.Single(result.Names), [2, 2]).ToArray());
    }

    protected override void Dispose(bool disposing)
    {
        _folder?.Dispose();
        base.Dispose(disposing);
    }

    private static SafetensorsFile Case(string operation) => operation switch
    {
        "adamw" => Cases.AdamW(),
        "scan" => Cases.LinearAttention(),
        "delta-momentum" => Cases.DeltaMomentum(),
        "dgd" => Cases.DeltaGradientDescent(),
        _ => Cases.Commit(),
    };

    private SafetensorsFile RunCase(SafetensorsFile file)
    {
        string input = Folder.File("case.safetensors"), output = Folder.File("result.safetensors");
        file.Save(input);
        CommandLineRun run = CommandLineRun.Of("op", input, "--out", output, "--device", Device.Name);
        Assert.Equal("", run.Error);
        Assert.Equal(ExitStatus.Success, run.Status);
        return SafetensorsFile.Load(output);
    }
}

public sealed class ManagedOpCommandTests() : OpCommandTests("managed");

public sealed class CpuOpCommandTests() : OpCommandTests("cpu");
