namespace NestedLearning.Generator;

/// <summary>What things of C and C++ are called in C#.</summary>
internal static class Names
{
    // Words that are not written as their first letter in upper case.
    private static readonly Dictionary<string, string> s_words = new() { ["bfloat16"] = "BFloat16" };

    private static readonly string[] s_keywords = ["base", "checked", "event", "fixed", "in", "is", "lock", "object", "out", "params",
        "ref", "string"];

    /// <summary>key_dim → KeyDim.</summary>
    public static string Pascal(string name) => string.Concat(name.Split('_').Select(Word));

    /// <summary>key_dim → keyDim.</summary>
    public static string Camel(string name)
    {
        string pascal = Pascal(name), camel = char.ToLowerInvariant(pascal[0]) + pascal[1..];
        return s_keywords.Contains(camel) ? "@" + camel : camel;
    }

    /// <summary>nl_scan_arguments → ScanArguments; nl_scan_gradients → ScanGradientArguments, which no public type is called.</summary>
    public static string Struct(string name)
    {
        string pascal = Pascal(Bare(name));
        return pascal.EndsWith("Gradients", StringComparison.Ordinal) ? pascal[..^1] + "Arguments" : pascal;
    }

    /// <summary>nl_scan_read → ScanRead.</summary>
    public static string Enumeration(string name) => Pascal(Bare(name));

    /// <summary>NL_READ_AFTER of an enum whose values all begin with NL_READ_ → After.</summary>
    public static string Member(string name, IEnumerable<string> all)
    {
        string[][] words = [.. all.Select(m => m.Split('_'))];
        int common = 0;
        while (words.All(w => w.Length > common + 1 && w[common] == words[0][common]))
            common++;
        return Pascal(string.Join('_', name.Split('_')[common..]).ToLowerInvariant());
    }

    /// <summary>NL_SUM_BLOCK → SumBlock.</summary>
    public static string Constant(string name) => Pascal(name["NL_".Length..].ToLowerInvariant());

    /// <summary>nl_scan_forward → ScanForward, or GetAbiVersion where a constant has the name.</summary>
    public static string Function(string name, SourceFile header)
    {
        string pascal = Pascal(Bare(name));
        return header.Constants.Any(c => Constant(c.Name) == pascal) ? "Get" + pascal : pascal;
    }

    /// <summary>
    /// A field: d_q → DQ, and dq → DQ where q is a field of the same operation, whose gradient it is. Reserved fields are _reserved.
    /// </summary>
    public static string Field(string name, IReadOnlySet<string> fields)
    {
        if (IsReserved(name))
            return "_" + name;
        string[] words = name.Split('_');
        return string.Concat(words.Select(word =>
            word.Length > 1 && word[0] == 'd' && fields.Contains(word[1..]) ? "D" + Word(word[1..]) : Word(word)));
    }

    public static bool IsReserved(string field) => field.StartsWith("reserved", StringComparison.Ordinal);

    /// <summary>kScanThreads and ScanColumns of scan.cuh → Threads and Columns.</summary>
    /// <param name="stem">Scan.</param>
    public static string InFile(string name, string stem)
    {
        string bare = name[0] == 'k' ? name[1..] : name;
        return bare.StartsWith(stem, StringComparison.Ordinal) && bare.Length > stem.Length ? bare[stem.Length..] : bare;
    }

    /// <summary>native/kernels/deep_memory/deep_memory.cuh → DeepMemory.</summary>
    public static string Stem(string path) => Pascal(Path.GetFileNameWithoutExtension(path));

    /// <summary>nl_scan_read of a CudaScanRead.</summary>
    public static string HeaderEnumeration(string cuda) =>
        "nl" + string.Concat(cuda["Cuda".Length..].Select(c => char.IsAsciiLetterUpper(c) ? $"_{char.ToLowerInvariant(c)}" : c.ToString()));

    private static string Bare(string name) => name["nl_".Length..];

    private static string Word(string word) =>
        word.Length == 0 ? "" : s_words.TryGetValue(word, out string? own) ? own : char.ToUpperInvariant(word[0]) + word[1..];
}
