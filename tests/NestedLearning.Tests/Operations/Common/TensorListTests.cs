using Xunit;

namespace NestedLearning.Tests;

/// <summary>
/// Every tensor of every list, each wrong in every way that a list knows: refused with an error that names it, before anything is
/// written. A tensor that joins a list is tested by that.
/// </summary>
public sealed class TensorListTests : IDisposable
{
    private const float Sentinel = 5;

    private static readonly Dictionary<string, Func<Device, Case>> s_cases = new()
    {
        ["scan"] = Scan,
        ["self-modifying"] = SelfModifying,
        ["deep memory"] = DeepMemory,
        ["attention"] = Attention,
    };

    private readonly Device _device = Device.Open("managed");
    private readonly Device _other = Device.Open("managed");

    public static TheoryData<string> Operations => [.. s_cases.Keys];

    /// <summary>Operation, list, tensor, and what is wrong: missing, device, rank, or the axis that is one too long.</summary>
    public static TheoryData<string, string, string, string> Faults()
    {
        var data = new TheoryData<string, string, string, string>();
        using var device = Device.Open("managed");
        foreach ((string operation, Func<Device, Case> create) in s_cases)
        {
            using Case c = create(device);
            foreach (Part part in c.Parts)
            {
                foreach (Row row in part.Rows)
                {
                    string[] axes = [.. Enumerable.Range(0, row.Axes.Length).Select(i => $"{i}")];
                    foreach (string fault in (string[])["device", "rank", .. axes, .. row.Required ? ["missing"] : Array.Empty<string>()])
                        data.Add(operation, part.Name, row.Name, fault);
                }
            }
        }

        return data;
    }

    [Theory]
    [MemberData(nameof(Operations))]
    public void EveryTensorOfTheLists_IsTaken(string operation)
    {
        using Case c = s_cases[operation](_device);
        c.Forward();
        c.Backward();
        foreach (Part part in c.Parts)
        {
            Assert.All(part.Rows, r => Assert.NotNull(r.Get()));
            // A record has no tensor that is not in its list.
            Assert.Equal(part.TensorsOfTheRecord, part.Rows.Length);
            Assert.Equal(part.Rows.Length, part.Rows.Select(r => r.Name).Distinct().Count());
        }
    }

    [Theory]
    [MemberData(nameof(Faults))]
    public void WrongTensor_IsNamedBeforeAnythingIsWritten(string operation, string list, string tensor, string fault)
    {
        using Case c = s_cases[operation](_device);
        Part part = c.Parts.Single(p => p.Name == list);
        Row row = part.Rows.Single(r => r.Name == tensor);
        Shape good = row.Get()!.Shape;
        int[] axes = good.AsSpan().ToArray();
        if (int.TryParse(fault, out int axis))
            axes[axis]++;
        using Tensor? bad = fault switch
        {
            "missing" => null,
            "device" => _other.Zeros(good),
            "rank" => _device.Zeros([good.ElementCount]),
            _ => _device.Zeros(new Shape(axes)),
        };
        using Tensor right = row.Get()!;
        row.Set(bad);
        Tensor[] written =
            [.. c.Parts.Where(p => p.IsWritten).SelectMany(p => p.Rows).Select(r => r.Get()).OfType<Tensor>().Where(t => t != bad)];
        foreach (Tensor t in written)
            t.Fill(Sentinel);

        // What sets the device or the length of an axis makes the next with it the wrong one.
        string[] named = [.. Named(c, row, fault)];
        foreach (Action run in part.Runs(c))
        {
            var e = Assert.ThrowsAny<ArgumentException>(run);
            Assert.Contains(e.ParamName, named);
            string what = fault switch { "missing" => "is missing", "device" => "is on 'managed'", _ => "has shape [" };
            Assert.StartsWith($"{e.ParamName} {what}", e.Message, StringComparison.Ordinal);
            Assert.Contains(", expected ", e.Message, StringComparison.Ordinal);
        }

        foreach (Tensor t in written)
            Assert.All(t.ToArray(), x => Assert.Equal(Sentinel, x));
        row.Set(null);
    }

    public void Dispose()
    {
        _device.Dispose();
        _other.Dispose();
    }

    private static IEnumerable<string> Named(Case c, Row row, string fault)
    {
        Row[] inputs = c.Parts[0].Rows;
        Row[] others = [.. c.Parts.SelectMany(p => p.Rows).Where(r => r != row)];
        if (fault == "device" && row == inputs[0])
            return [inputs[1].Name];
        if (!int.TryParse(fault, out int axis))
            return [row.Name];
        bool isFirst = inputs.FirstOrDefault(r => r.Axes.Any(a => Symbol(a) == Symbol(row.Axes[axis]))) == row;
        return isFirst ? others.Where(r => r.Axes.Any(a => Symbol(a) == Symbol(row.Axes[axis]))).Select(r => r.Name) : [row.Name];

        static string Symbol(string axisName) => TensorAxis.Parse(axisName).Name;
    }

    private static Case Scan(Device device)
    {
        // Everything is given: a frozen rule inside a chunk, with momentum.
        var settings = new ScanSettings(1, ScanRead.After, ScanWrite.FrozenL2, 4) { Phase = 1 };
        var inputs = new Part<ScanInputs>("inputs", ScanTensors.Inputs, [2, 2, 5, 3, 4, 7], device);
        var outputs = new Part<ScanOutputs>("outputs", ScanTensors.Outputs, [2, 2, 5, 3, 4, 7], device);
        var saved = new Part<ScanSaved>("saved", ScanTensors.Saved, [2, 2, 5, 3, 4, 7], device);
        var upstream = new Part<ScanOutputGradients>("upstream", ScanTensors.Outputs.Gradients, [2, 2, 5, 3, 4, 7], device);
        var gradients = new Part<ScanGradients>("gradients", ScanTensors.Inputs.Gradients, [2, 2, 5, 3, 4, 7], device);
        return new Case(
            () => NestedLearning.Operations.Scan.Forward(inputs.Record, settings, outputs.Record with { Saved = saved.Record }),
            () => NestedLearning.Operations.Scan.Backward(inputs.Record, settings, saved.Record, upstream.Record, gradients.Record),
            inputs, outputs, saved, upstream, gradients);
    }

    private static Case SelfModifying(Device device)
    {
        var settings = new SelfModifyingSettings(4, MemoryObjective.L2, ScanRead.Before, 0.1f, 0, 0) { Phase = 1 };
        var inputs = new Part<SelfModifyingInputs>("inputs", SelfModifyingTensors.Inputs, [2, 2, 5, 3, 4], device);
        var outputs = new Part<SelfModifyingOutputs>("outputs", SelfModifyingTensors.Outputs, [2, 2, 5, 3, 4], device);
        var saved = new Part<Tensor?>("saved", SelfModifyingTensors.Saved, [2, 2, 5, 3, 4], device);
        var upstream = new Part<SelfModifyingOutputGradients>("upstream", SelfModifyingTensors.Outputs.Gradients, [2, 2, 5, 3, 4], device);
        var gradients = new Part<SelfModifyingGradients>("gradients", SelfModifyingTensors.Inputs.Gradients, [2, 2, 5, 3, 4], device);
        return new Case(
            () => NestedLearning.Operations.SelfModifying.Forward(
                inputs.Record, settings, outputs.Record with { ChunkStates = saved.Record }),
            () => NestedLearning.Operations.SelfModifying.Backward(
                inputs.Record, settings, saved.Record!, upstream.Record, gradients.Record),
            inputs, outputs, saved, upstream, gradients);
    }

    private static Case DeepMemory(Device device)
    {
        var settings = new DeepMemorySettings(4, MemoryObjective.L2, ScanRead.After) { Phase = 1 };
        var inputs = new Part<DeepMemoryInputs>("inputs", DeepMemoryTensors.Inputs, [2, 2, 5, 3, 4, 6], device);
        var outputs = new Part<DeepMemoryOutputs>("outputs", DeepMemoryTensors.Outputs, [2, 2, 5, 3, 4, 6], device);
        var saved = new Part<DeepMemorySaved>("saved", DeepMemoryTensors.Saved, [2, 2, 5, 3, 4, 6], device);
        var upstream = new Part<DeepMemoryOutputGradients>("upstream", DeepMemoryTensors.Outputs.Gradients, [2, 2, 5, 3, 4, 6], device);
        var gradients = new Part<DeepMemoryGradients>("gradients", DeepMemoryTensors.Inputs.Gradients, [2, 2, 5, 3, 4, 6], device);
        return new Case(
            () => NestedLearning.Operations.DeepMemory.Forward(inputs.Record, settings, outputs.Record with { Saved = saved.Record }),
            () => NestedLearning.Operations.DeepMemory.Backward(inputs.Record, settings, saved.Record, upstream.Record, gradients.Record),
            inputs, outputs, saved, upstream, gradients);
    }

    private static Case Attention(Device device)
    {
        var settings = new AttentionSettings(1);
        var inputs = new Part<AttentionInputs>("inputs", AttentionTensors.Inputs, [2, 5, 6, 3, 4, 7], device);
        var outputs = new Part<AttentionOutputs>("outputs", AttentionTensors.Outputs, [2, 5, 6, 3, 4, 7], device);
        var saved = new Part<AttentionOutputs>("saved", AttentionTensors.Saved, [2, 5, 6, 3, 4, 7], device);
        var upstream = new Part<Tensor?>("upstream", AttentionTensors.Outputs.Gradients, [2, 5, 6, 3, 4, 7], device);
        var gradients = new Part<AttentionGradients>("gradients", AttentionTensors.Inputs.Gradients, [2, 5, 6, 3, 4, 7], device);
        AttentionOutputs Outputs() => outputs.Record with { LogSums = saved.Record.LogSums };
        return new Case(
            () => NestedLearning.Operations.Attention.Forward(inputs.Record, settings, Outputs()),
            () => NestedLearning.Operations.Attention.Backward(inputs.Record, settings, Outputs(), upstream.Record!, gradients.Record),
            inputs, outputs, saved, upstream, gradients);
    }

    /// <summary>A tensor of a record that a test changes.</summary>
    private sealed record Row(string Name, string[] Axes, bool Required, Func<Tensor?> Get, Action<Tensor?> Set);

    /// <summary>One record of an operation, with all the tensors of its list.</summary>
    private abstract class Part(string name)
    {
        public string Name => name;

        public abstract Row[] Rows { get; }

        public abstract int TensorsOfTheRecord { get; }

        public bool IsWritten => name is "outputs" or "saved" or "gradients";

        /// <summary>The passes that take the record. The forward pass may go without anything saved.</summary>
        public IEnumerable<Action> Runs(Case c) => name switch
        {
            "inputs" => [c.Forward, c.Backward],
            "outputs" => [c.Forward],
            "saved" => Rows.All(r => r.Get() is null) ? [c.Backward] : [c.Forward, c.Backward],
            _ => [c.Backward],
        };
    }

    private sealed class Part<TRecord> : Part
    {
        public Part(string name, TensorList<TRecord> list, int[] lengths, Device device)
            : base(name)
        {
            var call = new OperationCall(held: -1);
            for (int i = 0; i < lengths.Length; i++)
                call.Set(i, lengths[i]);
            Record = list.Make(call, shape => device.Zeros(shape));
            Rows =
            [
                .. list.Rows.Select(r => new Row(
                    r.Name, r.Axes.Split(' '), r.Role == TensorRole.Required, () => r.Get(Record), t => Record = r.With(Record, t))),
            ];
        }

        public TRecord Record { get; private set; }

        public override Row[] Rows { get; }

        public override int TensorsOfTheRecord => typeof(TRecord) == typeof(Tensor)
            ? 1
            : typeof(TRecord).GetProperties().Count(p => p.PropertyType == typeof(Tensor) && p.CanWrite && !IsElsewhere(p.Name));

        // Saved tensors that are outputs too have a list of their own.
        private bool IsElsewhere(string property) => (typeof(TRecord).Name, property) switch
        {
            (nameof(SelfModifyingOutputs), nameof(SelfModifyingOutputs.ChunkStates)) => true,
            (nameof(AttentionOutputs), nameof(AttentionOutputs.LogSums)) => Name == "outputs",
            (nameof(AttentionOutputs), nameof(AttentionOutputs.O)) => Name == "saved",
            _ => false,
        };
    }

    private sealed class Case(Action forward, Action backward, params Part[] parts) : IDisposable
    {
        public Action Forward => forward;

        public Action Backward => backward;

        public Part[] Parts => parts;

        public void Dispose()
        {
            foreach (Row row in parts.SelectMany(p => p.Rows))
                row.Get()?.Dispose();
        }
    }
}
