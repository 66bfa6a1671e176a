using System.Globalization;
using NestedLearning.Reliability;
using NestedLearning.Reliability.Fuzzing;

// The figures of docs/reliability.md. Exit status: 0 when nothing failed.
return args switch
{
    ["instrument", string folder] => Instrumentation.Apply(folder),
    ["fuzz", string seconds, string corpus, string found, .. string[] targets] => Campaign.Run(Seconds(seconds), corpus, found, targets),
    ["soak", string bytes, string rate, string width] => Soak.Run(long.Parse(bytes, CultureInfo.InvariantCulture),
        float.Parse(rate, CultureInfo.InvariantCulture), int.Parse(width, CultureInfo.InvariantCulture)),
    ["streams", string seconds] => ManyStreams.Run(Seconds(seconds)),
    ["kills", string count] => Kills.Run(int.Parse(count, CultureInfo.InvariantCulture)),
    ["precision", string cases, .. string[] devices] => Precision.Run(int.Parse(cases, CultureInfo.InvariantCulture), devices),
    ["ridge", string samples] => RidgePrecision.Run(int.Parse(samples, CultureInfo.InvariantCulture)),
    _ => Usage(),
};

static TimeSpan Seconds(string text) => TimeSpan.FromSeconds(double.Parse(text, CultureInfo.InvariantCulture));

static int Usage()
{
    Console.Error.WriteLine("""
        instrument FOLDER                        counters of coverage into the libraries there, for fuzz
        fuzz SECONDS CORPUS FOUND [TARGET…]      kept and new inputs, so long for each target; what fails or is new goes to FOUND
        soak BYTES TIMES_RATE WIDTH              one Hope of this width (128 is the default's), so many bytes at so many times its rate
        streams SECONDS                          64 learners on one device, from many threads
        kills COUNT                              nl stream, killed so many times
        precision CASES [DEVICE…]                errors against float64 over random cases
        ridge SAMPLES                            errors of forms of a recursive ridge memory after so many samples
        """);
    return 2;
}
