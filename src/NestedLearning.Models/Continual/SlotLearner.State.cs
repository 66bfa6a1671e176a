using System.Runtime.InteropServices;
using System.Text.Json.Nodes;

namespace NestedLearning.Models.Continual;

public sealed partial class SlotLearner
{
    /// <inheritdoc/>
    public void Save(SafetensorsFile file, string prefix)
    {
        ArgumentNullException.ThrowIfNull(file);
        _live.Save(file, prefix);
        string own = prefix + OwnPrefix;
        CheckpointSettings.Save(file, own, ConfigurationJson.Of(Settings));
        file.Add(own + "clock", [_sinceCommit, _slots.Count, _recent.Length]);
        Timeline.Save(file, own + "timeline");
        file.Add(own + "recent", Packed(_recent));
        for (int i = 0; i < _slots.Count; i++)
            _slots[i].Save(file, $"{own}{i}.");
        _redundancy.Save(file, own + "text_losses");
        _reading.Save(file, own + "reading.");
    }

    /// <inheritdoc/>
    public void Load(SafetensorsFile file, string prefix, IReadOnlyCollection<string>? allow = null)
    {
        ArgumentNullException.ThrowIfNull(file);
        JsonNode own = ConfigurationJson.Of(Settings);
        CheckpointSettings.Check(file, prefix + OwnPrefix, own, allow, known: false);
        // The model does not know the names of settings that are a slot's.
        HashSet<string> names = [.. own.AsObject().Select(s => s.Key.ToUpperInvariant())];
        string[] ofModel = [.. (allow ?? []).Where(n => !names.Contains(n.Replace("_", "", StringComparison.Ordinal).ToUpperInvariant()))];
        State state = ReadState(file, prefix);
        try
        {
            _live.Load(file, prefix, ofModel);
        }
        catch
        {
            state.Dispose();
            throw;
        }

        Take(state);
    }

    /// <summary>Bytes, eight in a number.</summary>
    internal static ReadOnlySpan<long> Packed(byte[] text)
    {
        byte[] padded = new byte[(text.Length + 7) / 8 * 8];
        text.CopyTo(padded, 0);
        return MemoryMarshal.Cast<byte, long>(padded);
    }

    /// <summary>What <see cref="Packed"/> wrote.</summary>
    internal static byte[] Unpacked(SafetensorsFile file, string name, long length)
    {
        if (length is < 0 or > int.MaxValue - 7)
            throw new CheckpointException($"'{name}' has {length} bytes, expected 0 to {int.MaxValue - 7}.");
        return MemoryMarshal.AsBytes(file.Integers(name, (int)((length + 7) / 8)))[..(int)length].ToArray();
    }

    // Everything but the live learner.
    private State ReadState(SafetensorsFile file, string prefix)
    {
        string own = prefix + OwnPrefix;
        ReadOnlySpan<long> clock = file.Integers(own + "clock", 3);
        if (clock[0] is < 0 or > int.MaxValue || clock[1] is < 0 or > SlotSettings.MostSlots)
            throw new CheckpointException($"'{own}clock' is [{clock[0]}, {clock[1]}, {clock[2]}], expected bytes since a commit, at most " +
                $"{SlotSettings.MostSlots} slots, and a text's length.");
        (int sinceCommit, int count) = ((int)clock[0], (int)clock[1]);
        byte[] recent = Unpacked(file, own + "recent", clock[2]);
        LevelCommit[] commits = LevelTimeline.Read(file, own + "timeline", LevelNames.Count);
        var slots = new List<Slot>();
        try
        {
            for (int i = 0; i < count; i++)
                slots.Add(Slot.Load(_live.Model, file, $"{own}{i}."));
            Redundancy redundancy = Redundancy.Load(file, own + "text_losses", count);
            return new State(slots, redundancy, SlotReading.Load(Settings, slots, file, own + "reading."), recent, sinceCommit, commits);
        }
        catch
        {
            slots.ForEach(s => s.Dispose());
            throw;
        }
    }

    private void Take(State state)
    {
        _reading.Dispose();
        _slots.ForEach(s => s.Dispose());
        (_slots, _redundancy, _reading) = (state.Slots, state.Redundancy, state.Reading);
        // Only where another setting was allowed do these change anything.
        _recent = state.Recent[^Math.Min(state.Recent.Length, Settings.TextBytes)..];
        _sinceCommit = Math.Min(state.SinceCommit, Settings.Period);
        while (_slots.Count > Settings.Slots)
            Drop(_redundancy.Most());
        Timeline.Replace(state.Commits);
        _live.Timeline.Clear();
    }

    private sealed record State(List<Slot> Slots, Redundancy Redundancy, SlotReading Reading, byte[] Recent, int SinceCommit,
        LevelCommit[] Commits) : IDisposable
    {
        public void Dispose()
        {
            Reading.Dispose();
            Slots.ForEach(s => s.Dispose());
        }
    }
}
