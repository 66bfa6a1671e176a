namespace NestedLearning.Models;

/// <summary>
/// Text as a vector of D numbers: every run of words up to a length and every run of characters inside a word, with its ends, is
/// hashed to a place and a sign (Weinberger et al. 2009) and counted there, by the root of how often it occurs; then the vector gets length
/// one. A function of the settings alone; nothing is learned or saved.
/// </summary>
public sealed record HashedNGrams
{
    /// <summary>D, at least 1.</summary>
    public int Features { get; init; } = 4096;

    /// <summary>The most words of a run; 0 counts none.</summary>
    public int MostWords { get; init; } = 2;

    /// <summary>The fewest characters of a run, at least 1.</summary>
    public int LeastCharacters { get; init; } = 3;

    /// <summary>The most characters of a run; 0 counts none.</summary>
    public int MostCharacters { get; init; } = 5;

    /// <summary>Other places and signs.</summary>
    public ulong Seed { get; init; } = 1;

    /// <summary>Checks every setting.</summary>
    /// <exception cref="ArgumentException">A setting is out of its range; the message names it.</exception>
    public void Validate()
    {
        if (Features < 1)
            throw new ArgumentException($"{nameof(Features)} is {Features}, expected at least 1.");
        if (MostWords < 0)
            throw new ArgumentException($"{nameof(MostWords)} is {MostWords}, expected at least 0.");
        if (LeastCharacters < 1)
            throw new ArgumentException($"{nameof(LeastCharacters)} is {LeastCharacters}, expected at least 1.");
        if (MostCharacters < 0)
            throw new ArgumentException($"{nameof(MostCharacters)} is {MostCharacters}, expected at least 0.");
    }

    /// <summary>The vector of a text, of length one; zero of a text without letters and digits.</summary>
    /// <exception cref="ArgumentException">A setting is out of its range.</exception>
    public float[] Of(string text)
    {
        Validate();
        float[] features = new float[Features];
        Write(text, features);
        return features;
    }

    /// <summary>Writes the vector of a text into D numbers.</summary>
    /// <exception cref="ArgumentException">A setting is out of its range, or there is not room for D numbers.</exception>
    public void Write(string text, Span<float> features)
    {
        ArgumentNullException.ThrowIfNull(text);
        Validate();
        if (features.Length != Features)
            throw new ArgumentException($"features has {features.Length} elements, expected {Features}.", nameof(features));
        var counts = new Dictionary<ulong, int>();
        List<string> words = Words(text);
        for (int first = 0; first < words.Count; first++)
        {
            ulong hash = Start(kind: 1);
            for (int length = 1; length <= MostWords && first + length <= words.Count; length++)
            {
                hash = Add(Add(hash, words[first + length - 1]), '\0');
                Count(hash);
            }
        }

        foreach (string word in words)
        {
            string whole = $"\u0001{word}\u0002";
            for (int first = 0; first < whole.Length; first++)
            {
                ulong hash = Start(kind: 2);
                for (int length = 1; length <= MostCharacters && first + length <= whole.Length; length++)
                {
                    hash = Add(hash, whole[first + length - 1]);
                    if (length >= LeastCharacters)
                        Count(hash);
                }
            }
        }

        features.Clear();
        foreach ((ulong hash, int count) in counts)
        {
            ulong mixed = Mix(hash);
            float size = MathF.Sqrt(count);
            features[(int)((mixed >> 32) * (ulong)Features >> 32)] += (mixed & 1) == 0 ? size : -size;
        }

        double square = 0;
        foreach (float e in features)
            square += (double)e * e;
        float scale = square > 0 ? (float)(1 / Math.Sqrt(square)) : 0;
        foreach (ref float e in features)
            e *= scale;

        void Count(ulong hash) => counts[hash] = counts.GetValueOrDefault(hash) + 1;
    }

    // Runs of letters and digits, in lower case.
    private static List<string> Words(string text)
    {
        List<string> words = [];
        int start = -1;
        for (int i = 0; i <= text.Length; i++)
        {
            bool inside = i < text.Length && (char.IsLetterOrDigit(text[i]) || char.IsSurrogate(text[i]));
            if (inside && start < 0)
                start = i;
            if (inside || start < 0)
                continue;
            words.Add(text[start..i].ToLowerInvariant());
            start = -1;
        }

        return words;
    }

    // FNV-1a over UTF-16, and the last step of SplitMix64.
    private ulong Start(ulong kind) => Mix(Seed * 4 + kind);

    private static ulong Add(ulong hash, string word)
    {
        foreach (char c in word)
            hash = Add(hash, c);
        return hash;
    }

    private static ulong Add(ulong hash, char c) => (hash ^ c) * 0x100000001B3;

    private static ulong Mix(ulong x)
    {
        x += 0x9E3779B97F4A7C15;
        x = (x ^ (x >> 30)) * 0xBF58476D1CE4E5B9;
        x = (x ^ (x >> 27)) * 0x94D049BB133111EB;
        return x ^ (x >> 31);
    }
}
