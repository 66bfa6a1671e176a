namespace NestedLearning.Models.Continual;

/// <summary>One kind of text.</summary>
/// <param name="Name">The name, as in tables.</param>
/// <param name="Text">All there is of it; parts of its end are held out.</param>
public sealed record StreamDomain(string Name, ReadOnlyMemory<byte> Text);

/// <summary>A part of a stream that is from one domain.</summary>
/// <param name="Domain">The index of the domain.</param>
/// <param name="Text">What is read.</param>
public sealed record StreamPhase(int Domain, ReadOnlyMemory<byte> Text);

/// <summary>
/// A stream that goes through phases of several domains, some of which may return, and of each domain text that no phase has: a
/// part to read before the loss is measured, and the part it is measured on.
/// </summary>
public sealed class PhaseStream
{
    /// <summary>Bytes read of a domain before its loss is measured, in the second of two measurements.</summary>
    public const int WarmBytes = 4096;

    private readonly (ReadOnlyMemory<byte> Warm, ReadOnlyMemory<byte> Measured)[] _heldOut;

    private PhaseStream(IReadOnlyList<StreamDomain> domains, IReadOnlyList<StreamPhase> phases,
        (ReadOnlyMemory<byte>, ReadOnlyMemory<byte>)[] heldOut) => (Domains, Phases, _heldOut) = (domains, phases, heldOut);

    /// <summary>The domains, in the order of their first phase.</summary>
    public IReadOnlyList<StreamDomain> Domains { get; }

    /// <summary>The phases, in the order of the stream.</summary>
    public IReadOnlyList<StreamPhase> Phases { get; }

    /// <summary>The bytes of all phases.</summary>
    public long Length => Phases.Sum(p => (long)p.Text.Length);

    /// <summary>Of a domain what is read before its loss is measured.</summary>
    public ReadOnlyMemory<byte> Warm(int domain) => _heldOut[domain].Warm;

    /// <summary>Of a domain what its loss is measured on.</summary>
    public ReadOnlyMemory<byte> HeldOut(int domain) => _heldOut[domain].Measured;

    /// <summary>The name of a phase: its domain's, with "again" where it returns.</summary>
    public string NameOf(int phase)
    {
        string name = Domains[Phases[phase].Domain].Name;
        return Phases.Take(phase).Any(p => p.Domain == Phases[phase].Domain) ? name + " again" : name;
    }

    /// <summary>A stream of phases of one length.</summary>
    /// <param name="domains">The domains by name.</param>
    /// <param name="order">The domain of each phase, by its name.</param>
    /// <param name="phaseBytes">The bytes of a phase, at least <see cref="WarmBytes"/>.</param>
    /// <param name="heldOutBytes">The bytes that a domain's loss is measured on, at least 1.</param>
    /// <param name="seed">Where in each domain's text its first phase begins.</param>
    /// <exception cref="ArgumentException">There is no phase, a name is unknown, or a domain has too little text; the message says
    /// which and how much is needed.</exception>
    public static PhaseStream Create(IReadOnlyList<StreamDomain> domains, IReadOnlyList<string> order, int phaseBytes, int heldOutBytes,
        ulong seed)
    {
        ArgumentNullException.ThrowIfNull(domains);
        ArgumentNullException.ThrowIfNull(order);
        if (order.Count == 0)
            throw new ArgumentException("The order is empty, expected one domain at least.", nameof(order));
        if (phaseBytes < WarmBytes)
            throw new ArgumentException($"A phase has {phaseBytes} bytes, expected at least {WarmBytes}.", nameof(phaseBytes));
        if (heldOutBytes < 1)
            throw new ArgumentException($"{heldOutBytes} bytes are held out, expected at least 1.", nameof(heldOutBytes));
        StreamDomain[] used = [.. order.Distinct().Select(name => domains.FirstOrDefault(d => d.Name == name)
            ?? throw new ArgumentException($"There is no domain '{name}', expected one of " +
                $"{string.Join(", ", domains.Select(d => d.Name))}.", nameof(order)))];
        var random = new CounterRandom(seed, 0x50686173);
        int[] next = new int[used.Length];
        for (int d = 0; d < used.Length; d++)
        {
            string name = used[d].Name;
            long needed = (long)order.Count(o => o == name) * phaseBytes + WarmBytes + heldOutBytes;
            if (needed > used[d].Text.Length)
                throw new ArgumentException($"'{name}' has {used[d].Text.Length:N0} bytes, expected at least {needed:N0} for its " +
                    "phases and what is held out.", nameof(domains));
            next[d] = random.Below((ulong)d, (int)(used[d].Text.Length - needed) + 1);
        }

        var phases = new List<StreamPhase>();
        foreach (string name in order)
        {
            int d = Array.FindIndex(used, u => u.Name == name);
            phases.Add(new StreamPhase(d, used[d].Text.Slice(next[d], phaseBytes)));
            next[d] += phaseBytes;
        }

        return new PhaseStream(used, phases,
            [.. used.Select(u => (u.Text[^(WarmBytes + heldOutBytes)..^heldOutBytes], u.Text[^heldOutBytes..]))]);
    }
}
