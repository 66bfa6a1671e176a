namespace NestedLearning.Models;

/// <summary>
/// The part of a block that passes information from token to token: x + mix(norm x). What it remembers of the tokens
/// is its own fast memory, a <see cref="MixerState"/>, one for each sequence and never hidden in the mixer.
/// </summary>
internal interface ITokenMixer
{
    /// <summary>What slow levels learn of it, the learned starts of its memories among them.</summary>
    IEnumerable<Parameter> Parameters { get; }

    /// <summary>The tensors of its state.</summary>
    IReadOnlyList<StatePart> State { get; }

    /// <summary>What its state consists of, seen as memories; together they name every part.</summary>
    IEnumerable<StateDescription> Describe();

    /// <summary>
    /// y [B, T, D] for x [B, T, D], and the state after the last token. The given state is only read, and the next one
    /// is the caller's: it shares nothing with the tape.
    /// </summary>
    (Variable Y, MixerState Next) Forward(Tape tape, Variable x, MixerState state);
}
