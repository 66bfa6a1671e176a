namespace NestedLearning.Reliability.Fuzzing;

/// <summary>Something that reads input of others: it may refuse it with errors of certain types, and nothing else.</summary>
internal abstract class FuzzTarget
{
    public static IReadOnlyList<FuzzTarget> All { get; } =
    [
        new SafetensorsTarget(), new CheckpointTarget(), new CaseTarget("managed"), new CaseTarget("cpu"), new ConfigurationTarget(),
        new GzipTarget(),
    ];

    public abstract string Name { get; }

    /// <summary>Inputs to begin with.</summary>
    public abstract IEnumerable<byte[]> Seeds();

    /// <summary>Texts of the format, which are put into inputs.</summary>
    public abstract IReadOnlyList<string> Words { get; }

    /// <summary>Reads an input.</summary>
    public abstract void Run(ReadOnlySpan<byte> input);

    /// <summary>Whether this is how the target says what is wrong with an input.</summary>
    public abstract bool IsRefusal(Exception error);

    /// <summary>Bytes of a device's memory that the last input took, beside those of managed objects.</summary>
    public virtual long DeviceBytes() => 0;

    /// <summary>Bytes that may be allocated for an input of a length.</summary>
    public virtual long MayAllocate(int length) => (1 << 20) + 64L * length;

    /// <summary>Makes lengths and offsets of a changed input agree again, which chance alone would not.</summary>
    public virtual byte[] Repair(byte[] input, Random random) => input;
}
