namespace NestedLearning;

/// <summary>
/// Records fused operations as they run, and replays their hand-written gradients in reverse. It owns every value
/// and gradient made on it; disposing it returns them to the pool.
/// </summary>
public sealed partial class Tape : IDisposable
{
    private readonly List<IDisposable> _owned = [];
    private readonly List<(Variable[] Outputs, Action Backward)> _steps = [];
    private readonly List<Variable> _gradients = [];
    private bool _ranBackward;

    /// <summary>An empty tape.</summary>
    /// <param name="device">Where its values live.</param>
    /// <param name="recording">False only computes: nothing is kept for a backward pass.</param>
    public Tape(Device device, bool recording = true)
    {
        ArgumentNullException.ThrowIfNull(device);
        Device = device;
        Recording = recording;
    }

    /// <summary>Where the values live.</summary>
    public Device Device { get; }

    /// <summary>Whether a backward pass is possible.</summary>
    public bool Recording { get; }

    /// <summary>A value from outside, which stays the caller's.</summary>
    public Variable Input(Tensor value, bool needsGradient = false)
    {
        ArgumentNullException.ThrowIfNull(value);
        Require.OnDevice(value, Device);
        return new Variable(value, needsGradient && Recording);
    }

    /// <summary>Hands something over that the backward pass needs, such as token numbers; disposed with the tape.</summary>
    public T Keep<T>(T item)
        where T : IDisposable
    {
        _owned.Add(item);
        return item;
    }

    /// <summary>A parameter's value; the backward pass adds to <see cref="Parameter.Error"/>.</summary>
    public Variable Use(Parameter parameter)
    {
        ArgumentNullException.ThrowIfNull(parameter);
        Require.OnDevice(parameter.Value, Device, parameter.Name);
        return Recording
            ? new Variable(parameter.Value, true) { Parameter = parameter, Gradient = parameter.Error, GradientIsBorrowed = true }
            : new Variable(parameter.Value, false);
    }

    /// <summary>
    /// A value whose own place is a carried state, while its gradient goes to the parameter it began as: the
    /// first-order form of docs/specification.md, section 5, used where a stream's memory has moved away from its learned start. The
    /// gradients of a batch of states [B, ..] are summed.
    /// </summary>
    /// <exception cref="ArgumentException">The value is not one or several times as large as the parameter.</exception>
    public Variable UseFirstOrder(Parameter start, Tensor carried)
    {
        ArgumentNullException.ThrowIfNull(start);
        ArgumentNullException.ThrowIfNull(carried);
        Require.OnDevice(carried, Device);
        int size = start.Value.Count;
        if (carried.Count == 0 || carried.Count % size != 0)
            throw new ArgumentException($"carried has shape {carried.Shape}, expected as many elements as {start.Name} " +
                $"{start.Value.Shape}, or several times that.", nameof(carried));
        if (!Recording)
            return new Variable(carried, false);
        if (carried.Count == size)
            return new Variable(carried, true) { Gradient = Keep(start.Error.Reshape(carried.Shape)), GradientIsBorrowed = true };
        var value = new Variable(carried, true);
        Record(
            () =>
            {
                using Tensor gradients = value.Gradient!.Reshape([carried.Count / size, size]), error = start.Error.Reshape([size]);
                Operations.ColumnSum.Add(gradients, error);
            },
            value);
        return value;
    }

    /// <summary>
    /// Runs the gradients backwards from an output. Gradients of parameters are added to their error terms; those of
    /// inputs that ask for one stay in <see cref="Variable.Gradient"/> until the tape is disposed.
    /// </summary>
    /// <param name="output">The value to start from.</param>
    /// <param name="seed">dL/doutput, of the output's shape.</param>
    /// <exception cref="InvalidOperationException">The tape does not record, or was run backwards already.</exception>
    public void Backward(Variable output, Tensor seed)
    {
        ArgumentNullException.ThrowIfNull(output);
        ArgumentNullException.ThrowIfNull(seed);
        if (!Recording)
            throw new InvalidOperationException("This tape does not record.");
        if (_ranBackward)
            throw new InvalidOperationException("This tape was run backwards already.");
        Require.SameShape(seed, output.Shape);
        Require.OnDevice(seed, Device);
        _ranBackward = true;
        using (WrittenGradient gradient = Written(output))
            gradient.Place?.CopyFrom(seed);
        for (int i = _steps.Count - 1; i >= 0; i--)
        {
            (Variable[] outputs, Action backward) = _steps[i];
            if (Array.Exists(outputs, o => o.Gradient is not null))
                backward();
            foreach (Variable o in outputs)
                FreeGradient(o);
        }
    }

    /// <summary>Returns every value and gradient made on the tape to the pool.</summary>
    public void Dispose()
    {
        foreach (Variable variable in _gradients)
            FreeGradient(variable);
        foreach (IDisposable owned in _owned)
            owned.Dispose();
        _owned.Clear();
        _steps.Clear();
        _gradients.Clear();
    }

    private Tensor New(Shape shape) => Keep(Device.Empty(shape));

    private bool Needs(params ReadOnlySpan<Variable?> inputs)
    {
        if (!Recording)
            return false;
        foreach (Variable? input in inputs)
        {
            if (input is { NeedsGradient: true })
                return true;
        }

        return false;
    }

    private void Record(Action backward, params Variable[] outputs) => _steps.Add((outputs, backward));

    private static void FreeGradient(Variable variable)
    {
        if (variable.GradientIsBorrowed)
            return;
        variable.Gradient?.Dispose();
        variable.Gradient = null;
    }

    // Kernels write activation gradients and add to parameter gradients, while a variable may be used many times.
    // These hide which of the two a variable needs.

    /// <summary>For kernels that add: the place, zeroed before its first contribution; null when no gradient is wanted.</summary>
    private Tensor? Added(Variable? input)
    {
        Tensor? place = Accumulated(input, out bool first);
        if (first)
            place?.Fill(0);
        return place;
    }

    /// <summary>For kernels that do either: the place, and whether this is its first contribution, to be written.</summary>
    private Tensor? Accumulated(Variable? input, out bool first)
    {
        first = false;
        if (input is not { NeedsGradient: true })
            return null;
        if (input.Gradient is null)
        {
            first = true;
            input.Gradient = Device.Empty(input.Shape);
            _gradients.Add(input);
        }

        return input.Gradient;
    }

    /// <summary>For kernels that write: use <see cref="WrittenGradient.Place"/> and dispose when it is written.</summary>
    private WrittenGradient Written(Variable? input)
    {
        Tensor? place = Accumulated(input, out bool first);
        return place is null || first ? new WrittenGradient(place, null) : new WrittenGradient(Device.Empty(place.Shape), place);
    }

    private readonly struct WrittenGradient(Tensor? place, Tensor? sum) : IDisposable
    {
        /// <summary>Where to write; null when no gradient is wanted.</summary>
        public Tensor? Place => place;

        public void Dispose()
        {
            if (sum is null)
                return;
            Operations.Elementwise.AddScaled(1, place!, sum);
            place!.Dispose();
        }
    }
}
