using NestedLearning.Testing;
using Xunit;

namespace NestedLearning.Tests;

/// <summary>
/// What the public scans refuse, with an error that names the argument, before anything is written: settings, what must be given
/// when, and the words of the messages. Every tensor's shape and device is in <see cref="TensorListTests"/>.
/// </summary>
public sealed class ScanValidationTests : IDisposable
{
    private readonly Device _device = Device.Open("managed");
    private readonly List<Tensor> _tensors = [];

    public void Dispose()
    {
        foreach (Tensor tensor in _tensors)
            tensor.Dispose();
        _device.Dispose();
    }

    public static TheoryData<string, string> BadForward => new()
    {
        { "k", "k has shape [2, 6, 3, 4], expected [2, 5, 3, 4]" },
        { "u", "u has shape [2, 6, 3, 7], expected [2, 5, 3, 7]" },
        { "u rank", "u has shape [2, 5, 21], expected [B, T, H, Dv]" },
        { "log_alpha", "log_alpha has shape [2, 3, 5], expected [2, 5, 3]" },
        { "theta given", "theta is given" },
        { "theta missing", "theta is missing" },
        { "p0 without mu", "p0 is given" },
        { "p missing", "p is missing" },
        { "p without mu", "p is given" },
        { "momenta missing", "saved momenta is missing" },
        { "states", "saved states has shape [2, 3, 1, 4, 7], expected [2, 3, 2, 4, 7]" },
        { "chunk 0", "The chunk is 0 tokens, expected 1 to 256" },
        { "chunk 257", "The chunk is 257 tokens, expected 1 to 256" },
        { "scale", "scale is NaN" },
        { "read at a free chunk's start", "with Given writes the chunk is free" },
        { "phase of a free chunk", "The phase is 1 tokens, expected 0 where the chunk is not part of the meaning" },
        { "phase", "The phase is 4 tokens, expected 0 to 3" },
        { "chunk start missing", "chunk_start is missing, expected it exactly when the phase is not 0" },
        { "chunk start given", "chunk_start is given, expected it exactly when the phase is not 0" },
        { "chunk start of a free chunk", "chunk_start is given, expected null where the chunk is not part of the meaning" },
    };

    [Theory]
    [MemberData(nameof(BadForward))]
    public void BadInput_IsRefusedBeforeAnythingIsWritten(string what, string message)
    {
        var settings = new ScanSettings(1, ScanRead.After, ScanWrite.Given, 4);
        var inputs = new ScanInputs { Q = New(2, 5, 3, 4), K = New(2, 5, 3, 4), U = New(2, 5, 3, 7), Mu = New(2, 5, 3) };
        var outputs = new ScanOutputs
        {
            O = New(2, 5, 3, 7), S = New(2, 3, 4, 7), P = New(2, 3, 4, 7), Saved = new(New(2, 3, 2, 4, 7), New(2, 3, 2, 4, 7)),
        };
        Scan.Forward(inputs, settings, outputs);
        Tensor[] written = [outputs.O, outputs.S, outputs.P, outputs.Saved.States!, outputs.Saved.Momenta!];
        foreach (Tensor tensor in written)
            tensor.Fill(5);
        switch (what)
        {
            case "k": inputs = inputs with { K = New(2, 6, 3, 4) }; break;
            case "u": inputs = inputs with { U = New(2, 6, 3, 7) }; break;
            case "u rank": inputs = inputs with { U = New(2, 5, 21) }; break;
            case "log_alpha": inputs = inputs with { LogAlpha = New(2, 3, 5) }; break;
            case "theta given": inputs = inputs with { Theta = New(2, 5, 3) }; break;
            case "theta missing": settings = settings with { Write = ScanWrite.Scaled }; break;
            case "p0 without mu": (inputs, outputs) = (inputs with { Mu = null, P0 = New(2, 3, 4, 7) }, outputs with { P = null }); break;
            case "p missing": outputs = outputs with { P = null }; break;
            case "p without mu": inputs = inputs with { Mu = null }; break;
            case "momenta missing": outputs = outputs with { Saved = outputs.Saved with { Momenta = null } }; break;
            case "states": outputs = outputs with { Saved = outputs.Saved with { States = New(2, 3, 1, 4, 7) } }; break;
            case "chunk 0": settings = settings with { Chunk = 0 }; break;
            case "chunk 257": settings = settings with { Chunk = 257 }; break;
            case "scale": settings = settings with { Scale = float.NaN }; break;
            case "read at a free chunk's start": settings = settings with { Read = ScanRead.ChunkStart }; break;
            case "phase of a free chunk": settings = settings with { Phase = 1 }; break;
            case "phase":
                inputs = inputs with { Theta = New(2, 5, 3) };
                settings = settings with { Write = ScanWrite.FrozenL2, Phase = 4 };
                break;
            case "chunk start missing":
                inputs = inputs with { Theta = New(2, 5, 3) };
                settings = settings with { Write = ScanWrite.FrozenL2, Phase = 3 };
                break;
            case "chunk start given": inputs = inputs with { ChunkStart = New(2, 3, 4, 7) }; break;
            case "chunk start of a free chunk": outputs = outputs with { ChunkStart = New(2, 3, 4, 7) }; break;
        }

        ArgumentException e = Assert.ThrowsAny<ArgumentException>(() => Scan.Forward(inputs, settings, outputs));
        Assert.Contains(message, e.Message, StringComparison.Ordinal);
        foreach (Tensor tensor in written)
            Assert.All(tensor.ToArray(), x => Assert.Equal(5, x));
    }

    public static TheoryData<string, string> BadBackward => new()
    {
        { "states", "saved states is missing" },
        { "momenta", "saved momenta is missing" },
        { "dp without mu", "dp is given" },
        { "dlog_alpha", "dlog_alpha is asked for, but its input is not given" },
        { "dp0 without mu", "dp0 is given" },
    };

    [Theory]
    [MemberData(nameof(BadBackward))]
    public void BadBackwardInput_IsRefusedBeforeAnythingIsWritten(string what, string message)
    {
        var settings = new ScanSettings(1, ScanRead.After, ScanWrite.Given, 4);
        var inputs = new ScanInputs { Q = New(2, 5, 3, 4), K = New(2, 5, 3, 4), U = New(2, 5, 3, 7), Mu = New(2, 5, 3) };
        var saved = new ScanSaved(New(2, 3, 2, 4, 7), New(2, 3, 2, 4, 7));
        var upstream = new ScanOutputGradients(New(2, 5, 3, 7), New(2, 3, 4, 7), null);
        Tensor written = New(2, 5, 3, 4);
        var gradients = new ScanGradients { K = written };
        Scan.Backward(inputs, settings, saved, upstream, gradients);
        written.Fill(5);
        switch (what)
        {
            case "states": saved = saved with { States = null }; break;
            case "momenta": saved = saved with { Momenta = null }; break;
            case "dp without mu":
                (inputs, saved) = (inputs with { Mu = null }, saved with { Momenta = null });
                upstream = upstream with { P = New(2, 3, 4, 7) };
                break;
            case "dlog_alpha": gradients = gradients with { LogAlpha = New(2, 5, 3) }; break;
            case "dp0 without mu":
                (inputs, saved) = (inputs with { Mu = null }, saved with { Momenta = null });
                gradients = gradients with { P0 = New(2, 3, 4, 7) };
                break;
        }

        ArgumentException e = Assert.ThrowsAny<ArgumentException>(() => Scan.Backward(inputs, settings, saved, upstream, gradients));
        Assert.Contains(message, e.Message, StringComparison.Ordinal);
        Assert.All(written.ToArray(), x => Assert.Equal(5, x));
    }

    public static TheoryData<string, string> BadSelfModifying => new()
    {
        { "x", "x has shape [2, 5, 3], expected [B, T, H, D]" },
        { "s0", "s0 has shape [2, 3, 4, 13], expected [2, 3, 4, 14]" },
        { "chunk", "The chunk is 0 tokens" },
        { "phase", "The phase is 4 tokens, expected 0 to 3" },
        { "chunk start missing", "chunk_start is missing, expected it exactly when the phase is not 0" },
        { "chunk start given", "chunk_start is given, expected it exactly when the phase is not 0" },
        { "eta", "eta_scale is" },
        { "alpha", "alpha_bias is" },
    };

    [Theory]
    [MemberData(nameof(BadSelfModifying))]
    public void BadSelfModifyingInput_IsRefusedBeforeAnythingIsWritten(string what, string message)
    {
        var settings = new SelfModifyingSettings(4, MemoryObjective.L2, ScanRead.Before, 0.1f, 0, 0);
        var inputs = new SelfModifyingInputs { X = New(2, 5, 3, 4), Q = New(2, 5, 3, 4), S0 = New(2, 3, 4, 14) };
        var outputs = new SelfModifyingOutputs { O = New(2, 5, 3, 4), S = New(2, 3, 4, 14), ChunkStates = New(2, 3, 2, 4, 14) };
        SelfModifying.Forward(inputs, settings, outputs);
        Tensor[] written = [outputs.O, outputs.S, outputs.ChunkStates];
        foreach (Tensor tensor in written)
            tensor.Fill(5);
        switch (what)
        {
            case "x": inputs = inputs with { X = New(2, 5, 3) }; break;
            case "s0": inputs = inputs with { S0 = New(2, 3, 4, 13) }; break;
            case "chunk": settings = settings with { Chunk = 0 }; break;
            case "phase": settings = settings with { Phase = 4 }; break;
            case "chunk start missing": settings = settings with { Phase = 3 }; break;
            case "chunk start given": inputs = inputs with { ChunkStart = New(2, 3, 4, 14) }; break;
            case "eta": settings = settings with { EtaScale = float.PositiveInfinity }; break;
            case "alpha": settings = settings with { AlphaBias = float.NaN }; break;
        }

        ArgumentException e = Assert.ThrowsAny<ArgumentException>(() => SelfModifying.Forward(inputs, settings, outputs));
        Assert.Contains(message, e.Message, StringComparison.Ordinal);
        foreach (Tensor tensor in written)
            Assert.All(tensor.ToArray(), x => Assert.Equal(5, x));
    }

    private Tensor New(params ReadOnlySpan<int> axes) => Track(_device.Zeros(new Shape(axes)));

    private Tensor Track(Tensor tensor)
    {
        _tensors.Add(tensor);
        return tensor;
    }
}
