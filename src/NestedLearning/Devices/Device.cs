using System.Numerics.Tensors;
using System.Runtime.InteropServices;

namespace NestedLearning;

/// <summary>Whether a backend can run here and, if not, why.</summary>
/// <param name="Name">The name it is opened by.</param>
/// <param name="Available">Whether <see cref="Device.Open(string)"/> will succeed.</param>
/// <param name="Detail">What would run (instruction set, GPU), or the reason it cannot.</param>
public sealed record BackendReport(string Name, bool Available, string Detail);

/// <summary>Finds and makes one kind of backend. A package with another backend registers its own.</summary>
public abstract class BackendProvider
{
    /// <summary>The name its backend is opened by.</summary>
    public abstract string Name { get; }

    /// <summary>Higher is tried first by <see cref="Device.Open()"/>; <c>managed</c> is 0 and <c>cpu</c> 10.</summary>
    public abstract int Preference { get; }

    /// <summary>Whether it can run here, found out without throwing.</summary>
    public abstract BackendReport Probe();

    /// <summary>Makes the backend.</summary>
    /// <exception cref="BackendUnavailableException">It cannot run here.</exception>
    /// <exception cref="ArgumentException">A setting of it, such as an environment variable, names what is not there.</exception>
    public abstract Backend Create();
}

/// <summary>A backend that was asked for by name cannot run here.</summary>
public sealed class BackendUnavailableException : Exception
{
    /// <summary>An exception with this message.</summary>
    public BackendUnavailableException(string message)
        : base(message)
    {
    }

    /// <summary>An exception with this message and cause.</summary>
    public BackendUnavailableException(string message, Exception? innerException)
        : base(message, innerException)
    {
    }

    /// <summary>An exception without further words.</summary>
    public BackendUnavailableException()
    {
    }
}

/// <summary>A place where tensors live and operations run: one backend with its memory and threads.</summary>
public sealed class Device : IDisposable
{
    private static readonly List<BackendProvider> s_providers = [new ManagedBackendProvider(), new CpuBackendProvider()];

    internal Device(Backend backend)
    {
        Backend = backend;
        if (backend.Memory is { } memory)
            memory.Owner = backend.Name;
    }

    /// <summary>The backend that runs operations.</summary>
    public Backend Backend { get; }

    /// <summary>The backend's name, such as <c>cpu</c>.</summary>
    public string Name => Backend.Name;

    /// <summary>What runs the kernels, such as the instruction set.</summary>
    public string Description => Backend.Description;

    /// <summary>How many threads operations may use at once, at least 1. Results do not depend on it.</summary>
    public int Threads
    {
        get => Backend.Work.Threads;
        set => Backend.Work.Threads = value;
    }

    /// <summary>
    /// To what products may round their operands, for speed: on <c>cuda</c> the scan and the matrix products have forms for
    /// each; elsewhere nothing is rounded, whatever is allowed. None at first.
    /// </summary>
    /// <exception cref="ArgumentOutOfRangeException">It is none of them.</exception>
    public TensorCores TensorCores
    {
        get => Backend.TensorCores;
        set => Backend.TensorCores = Enum.IsDefined(value)
            ? value
            : throw new ArgumentOutOfRangeException(nameof(value), value,
                $"{nameof(TensorCores)} is one of {string.Join(", ", Enum.GetNames<TensorCores>())}.");
    }

    /// <summary>
    /// The switch of <see cref="AppContext"/> that <see cref="TracksAllocations"/> starts from, as in
    /// <c>"configProperties": { "NestedLearning.TrackAllocations": true }</c> of a <c>runtimeconfig.json</c>.
    /// </summary>
    public const string TrackAllocationsSwitch = "NestedLearning.TrackAllocations";

    /// <summary>
    /// Whether tensors remember the stack they were made in, for <see cref="LostTensors"/>. It takes tens of microseconds a tensor.
    /// </summary>
    public bool TracksAllocations
    {
        get => Backend.Memory?.TracksAllocations ?? false;
        set
        {
            if (Backend.Memory is { } memory)
                memory.TracksAllocations = value;
        }
    }

    /// <summary>
    /// The last 1,000 tensors that the garbage collector found undisposed. Their memory went back to the pool, later than it could have:
    /// dispose tensors. Each is also an event of the source <c>NestedLearning</c>.
    /// </summary>
    public IReadOnlyList<LostTensor> LostTensors => Backend.Memory?.Lost ?? [];

    /// <summary>Bytes of memory that tensors have, or that are kept for new ones.</summary>
    public long AllocatedBytes => Backend.Memory?.AllocatedBytes ?? 0;

    /// <summary>Bytes of memory that are kept for new tensors.</summary>
    public long KeptBytes => Backend.Memory?.KeptBytes ?? 0;

    /// <summary>
    /// The most bytes that are kept for new tensors, at least 0; no limit at first. What is given back beyond that goes to the system. Less
    /// than what a step uses makes steps slow.
    /// </summary>
    /// <exception cref="ArgumentOutOfRangeException">It is below 0.</exception>
    public long KeptLimit
    {
        get => Backend.Memory?.KeptLimit ?? long.MaxValue;
        set
        {
            if (value < 0)
                throw new ArgumentOutOfRangeException(nameof(value), value, $"{nameof(KeptLimit)} is {value}, expected at least 0.");
            if (Backend.Memory is not { } memory)
                return;
            memory.KeptLimit = value;
            if (memory.KeptBytes > value)
                memory.Trim();
        }
    }

    /// <summary>
    /// Gives the memory that is kept for new tensors back to the system, such as after a phase that took more than others. Tensors keep
    /// theirs.
    /// </summary>
    public void Trim() => Backend.Memory?.Trim();

    /// <summary>Adds a backend from another package, or replaces the one of the same name.</summary>
    public static void Register(BackendProvider provider)
    {
        ArgumentNullException.ThrowIfNull(provider);
        lock (s_providers)
        {
            s_providers.RemoveAll(p => p.Name == provider.Name);
            s_providers.Add(provider);
        }
    }

    /// <summary>The names of every known backend, the preferred first, without asking whether they can run here.</summary>
    public static IReadOnlyList<string> BackendNames => [.. Providers().Select(p => p.Name)];

    /// <summary>Every known backend, the preferred first, with what would run or why it cannot.</summary>
    public static IReadOnlyList<BackendReport> Probe() => [.. Providers().Select(p => p.Probe())];

    /// <summary>Opens the most preferred backend that works; <see cref="Probe"/> says why others were passed over.</summary>
    /// <exception cref="ArgumentException">
    /// NESTED_LEARNING_TARGET names an instruction set that this machine or the library lacks, or NESTED_LEARNING_NATIVE a
    /// library that cannot be loaded: no other backend is taken in its place.
    /// </exception>
    public static Device Open()
    {
        foreach (BackendProvider provider in Providers())
        {
            try
            {
                return new Device(provider.Create());
            }
            catch (BackendUnavailableException)
            {
                // No probe: what a backend says of itself may take longer than opening it.
            }
        }

        throw new BackendUnavailableException("No backend is registered.");
    }

    /// <summary>Opens a backend by name. There is no fallback.</summary>
    /// <exception cref="ArgumentException">No backend has that name, or as <see cref="Open()"/>.</exception>
    /// <exception cref="BackendUnavailableException">The backend cannot run here; the message says why.</exception>
    public static Device Open(string name)
    {
        BackendProvider[] providers = Providers();
        BackendProvider provider = Array.Find(providers, p => p.Name == name)
            ?? throw new ArgumentException($"There is no backend '{name}'; known are {string.Join(", ", providers.Select(p => p.Name))}.",
                nameof(name));
        return new Device(provider.Create());
    }

    /// <summary>A tensor with undefined contents.</summary>
    public Tensor Empty(Shape shape) => new(this, shape, Backend.Allocate(shape.ElementCount));

    /// <summary>A tensor of zeros.</summary>
    public Tensor Zeros(Shape shape) => Full(shape, 0);

    /// <summary>A tensor with every element set to a value.</summary>
    public Tensor Full(Shape shape, float value)
    {
        Tensor tensor = Empty(shape);
        try
        {
            tensor.Fill(value);
            return tensor;
        }
        catch
        {
            tensor.Dispose();
            throw;
        }
    }

    /// <summary>A tensor with these elements.</summary>
    /// <exception cref="ArgumentException">The numbers of elements differ.</exception>
    public Tensor From(Shape shape, ReadOnlySpan<float> elements)
    {
        if (elements.Length != shape.ElementCount)
            throw new ArgumentException($"{shape} has {shape.ElementCount} elements, got {elements.Length}.", nameof(elements));
        Tensor tensor = Empty(shape);
        try
        {
            tensor.CopyFrom(elements);
            return tensor;
        }
        catch
        {
            tensor.Dispose();
            throw;
        }
    }

    /// <summary>A tensor of integers with these elements.</summary>
    /// <exception cref="ArgumentException">The numbers of elements differ.</exception>
    public IndexTensor FromIndices(Shape shape, ReadOnlySpan<int> elements)
    {
        if (elements.Length != shape.ElementCount)
            throw new ArgumentException($"{shape} has {shape.ElementCount} elements, got {elements.Length}.", nameof(elements));
        TensorStorage storage = Backend.Allocate(shape.ElementCount);
        try
        {
            Backend.Upload(MemoryMarshal.Cast<int, float>(elements), storage);
        }
        catch
        {
            storage.Release();
            throw;
        }

        return elements.IsEmpty
            ? new IndexTensor(this, shape, storage, 0, 0)
            : new IndexTensor(this, shape, storage, TensorPrimitives.Min(elements), TensorPrimitives.Max(elements));
    }

    /// <summary>Frees the backend and its pooled memory. Tensors still alive free theirs when they are disposed or collected.</summary>
    public void Dispose() => Backend.Dispose();

    private static BackendProvider[] Providers()
    {
        lock (s_providers)
            return [.. s_providers.OrderByDescending(p => p.Preference)];
    }
}
