namespace NestedLearning.Models.Continual;

/// <summary>When a slow level of slots commits, what it keeps, and how its predictions are mixed with the live learner's.</summary>
public sealed record SlotSettings
{
    /// <summary>The most slots of a learner.</summary>
    public const int MostSlots = 64;

    /// <summary>K: slots, 0 to <see cref="MostSlots"/>; with 0 the live learner is alone.</summary>
    public int Slots { get; init; } = 3;

    /// <summary>
    /// C: bytes learned from one commit to the next, at least 1. Best no divisor of the length of what is to be kept, so that no commit
    /// stands at the beginning of something new.
    /// </summary>
    public int Period { get; init; } = 40 * 1024;

    /// <summary>s of fixed share: how often the best member changes, in changes a byte; above 0, at most 1.</summary>
    public double Share { get; init; } = 1e-3;

    /// <summary>Bytes that a slot keeps of what was read before its commit, at least 1: redundancy is judged on them.</summary>
    public int TextBytes { get; init; } = 4096;

    /// <summary>
    /// Every so many bytes of the stream each slot reads along, whatever its weight, so that one that is needed is noticed; 0: slots
    /// never sleep.
    /// </summary>
    public int ProbePeriod { get; init; } = 1024;

    /// <summary>
    /// For how many bytes a slot reads before it may fall asleep, at least 1; it divides <see cref="ProbePeriod"/>, where that is
    /// not 0. A multiple of the model's segments cuts none of them.
    /// </summary>
    public int ProbeBytes { get; init; } = 128;

    /// <summary>A slot with less weight than this after <see cref="ProbeBytes"/> sleeps until the next probe; 0 to 1.</summary>
    public double SleepBelow { get; init; } = 0.01;

    /// <summary>Checks every setting.</summary>
    /// <exception cref="ArgumentException">A setting is out of its range; the message names it with its value.</exception>
    public void Validate()
    {
        if (Slots is < 0 or > MostSlots)
            throw new ArgumentException($"{nameof(Slots)} is {Slots}, expected 0 to {MostSlots}.");
        if (Period < 1)
            throw new ArgumentException($"{nameof(Period)} is {Period}, expected at least 1.");
        if (!(Share is > 0 and <= 1))
            throw new ArgumentException($"{nameof(Share)} is {Readable.Number(Share)}, expected above 0 and at most 1.");
        if (TextBytes < 1)
            throw new ArgumentException($"{nameof(TextBytes)} is {TextBytes}, expected at least 1.");
        if (ProbePeriod < 0)
            throw new ArgumentException($"{nameof(ProbePeriod)} is {ProbePeriod}, expected at least 0.");
        if (ProbeBytes < 1)
            throw new ArgumentException($"{nameof(ProbeBytes)} is {ProbeBytes}, expected at least 1.");
        if (ProbePeriod % ProbeBytes != 0)
            throw new ArgumentException($"{nameof(ProbeBytes)} is {ProbeBytes}, expected a divisor of {nameof(ProbePeriod)} = " +
                $"{ProbePeriod}.");
        if (!(SleepBelow is >= 0 and <= 1))
            throw new ArgumentException($"{nameof(SleepBelow)} is {Readable.Number(SleepBelow)}, expected 0 to 1.");
    }
}
