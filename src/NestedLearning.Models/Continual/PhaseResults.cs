namespace NestedLearning.Models.Continual;

/// <summary>What a learner did on a stream of phases. Losses are bits a byte.</summary>
public sealed record PhaseResults
{
    /// <summary>The domain of each phase.</summary>
    public required IReadOnlyList<int> Domains { get; init; }

    /// <summary>The loss of each phase as predicted before learning from it (prequential).</summary>
    public required IReadOnlyList<double> Phases { get; init; }

    /// <summary>The same over the first <see cref="PhaseStream.WarmBytes"/> of each phase.</summary>
    public required IReadOnlyList<double> Beginnings { get; init; }

    /// <summary>The same over the last tenth of each phase.</summary>
    public required IReadOnlyList<double> Ends { get; init; }

    /// <summary>The loss on held-out text of domain j after phase i, from a fresh state, at [i][j].</summary>
    public required IReadOnlyList<IReadOnlyList<double>> HeldOut { get; init; }

    /// <summary>
    /// The same after <see cref="PhaseStream.WarmBytes"/> of the domain were read and learned from, by a copy, with nothing learned from
    /// then on.
    /// </summary>
    public required IReadOnlyList<IReadOnlyList<double>> AfterReading { get; init; }

    /// <summary>The bytes of the stream.</summary>
    public required long Bytes { get; init; }

    /// <summary>The parameters at the end, those of slots among them.</summary>
    public required long Parameters { get; init; }

    /// <summary>The bytes of everything that the learner would save: weights, optimizer memories, fast memories, texts.</summary>
    public required long StateBytes { get; init; }

    /// <summary>Seconds spent reading the stream, without measurements.</summary>
    public required double Seconds { get; init; }

    /// <summary>Why the learner stopped before the end of the stream; null where it did not. Its figures are NaN then.</summary>
    public string? Diverged { get; init; }

    /// <summary>The loss over the whole stream, all phases of one length.</summary>
    public double WholeStream => Phases.Average();

    /// <summary>
    /// Forgetting: the mean rise of the loss on a domain's held-out text from the end of a phase of it to the last phase before it
    /// returns, or to the end of the stream; over all phases after which another domain came.
    /// </summary>
    public double Forgetting => ForgettingOf(HeldOut);

    /// <summary>The same after <see cref="PhaseStream.WarmBytes"/> of reading.</summary>
    public double ForgettingAfterReading => ForgettingOf(AfterReading);

    /// <summary>The mean loss on held-out text of all domains at the end of the stream.</summary>
    public double HeldOutAtEnd => HeldOut[^1].Average();

    /// <summary>
    /// How much worse the beginnings of phases of returning domains are than where their domains ended before, relative; null where
    /// none returns.
    /// </summary>
    public double? ReturnExcess
    {
        get
        {
            double[] excess = [.. Enumerable.Range(0, Domains.Count).Where(i => Domains.Take(i).Contains(Domains[i]))
                .Select(i => Beginnings[i] / Ends[Domains.Take(i).ToList().LastIndexOf(Domains[i])] - 1)];
            return excess.Length == 0 ? null : excess.Average();
        }
    }

    /// <summary>
    /// Adapting and keeping in one number: the mean of <see cref="WholeStream"/> and <see cref="HeldOutAtEnd"/>. Infinite where the
    /// learner diverged.
    /// </summary>
    public double Score => Diverged is null ? (WholeStream + HeldOutAtEnd) / 2 : double.PositiveInfinity;

    /// <summary>The rise on held-out text of a phase's domain until it returns or the stream ends; null after the last phase.</summary>
    public double? ForgottenAfter(int phase) => ForgottenAfter(HeldOut, phase);

    private double ForgettingOf(IReadOnlyList<IReadOnlyList<double>> losses) =>
        Enumerable.Range(0, Domains.Count).Select(i => ForgottenAfter(losses, i)).OfType<double>().DefaultIfEmpty(0).Average();

    private double? ForgottenAfter(IReadOnlyList<IReadOnlyList<double>> losses, int phase)
    {
        int next = phase + 1;
        while (next < Domains.Count && Domains[next] != Domains[phase])
            next++;
        return next == phase + 1 ? null : losses[next - 1][Domains[phase]] - losses[phase][Domains[phase]];
    }
}
