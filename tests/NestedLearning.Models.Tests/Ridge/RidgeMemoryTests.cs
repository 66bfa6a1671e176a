using System.Globalization;
using System.IO.Compression;
using NestedLearning.Testing;
using Xunit;

namespace NestedLearning.Models.Tests;

public sealed class RidgeMemoryTests : IDisposable
{
    private const int Features = 24, Classes = 6;

    private static readonly RidgeMemoryConfiguration s_small = new() { Features = Features, Regularizer = 0.5 };

    private readonly Device _device = Device.Open("managed");
    private readonly string _folder = Directory.CreateTempSubdirectory("ridge-memory-").FullName;

    public void Dispose()
    {
        _device.Dispose();
        Directory.Delete(_folder, recursive: true);
    }

    [Fact]
    public void ClassesOneAfterTheOther_AreLearnedAsAllTogether()
    {
        (float[] x, int[] labels) = Samples(120, seed: 1);
        using RidgeMemory joint = Learned(s_small, x, labels), apart = new(_device, s_small), turned = new(_device, s_small);
        int[] byClass = [.. Enumerable.Range(0, labels.Length).OrderBy(i => labels[i])];
        foreach (int i in byClass)
            apart.Learn(Row(x, i), labels[i]);
        foreach (int i in byClass.Reverse())
            turned.Learn(Row(x, i), labels[i]);
        Assert.Equal([0, 1, 2, 3, 4, 5], apart.Labels);
        Assert.Equal([5, 4, 3, 2, 1, 0], turned.Labels);
        Assert.Equal(120, apart.Samples);
        Assert.Equal(joint.StateBytes, apart.StateBytes);
        (float[] probe, _) = Samples(40, seed: 2);
        for (int i = 0; i < 40; i++)
        {
            float[] key = Row(probe, i), expected = joint.Predict(key), one = apart.Predict(key), other = turned.Predict(key);
            for (int label = 0; label < Classes; label++)
            {
                float answer = expected[joint.Labels.ToList().IndexOf(label)];
                Assert.Equal(answer, one[label], 2e-6);
                Assert.Equal(answer, other[Classes - 1 - label], 2e-6);
            }

            Assert.Equal(joint.Classify(key), apart.Classify(key));
            Assert.Equal(joint.Classify(key), turned.Classify(key));
        }
    }

    [Fact]
    public void Weights_AreThoseOfRidgeRegression()
    {
        (float[] x, int[] labels) = Samples(200, seed: 3);
        using RidgeMemory memory = Learned(s_small, x, labels);
        float[] targets = new float[200 * Classes];
        for (int i = 0; i < 200; i++)
            targets[i * Classes + memory.Labels.ToList().IndexOf(labels[i])] = 1;
        (double[] w, _) = ReferenceRidge.Joint(Features, Classes, x, targets, 0.5, 1);
        Compare.Close("w", memory.Weights, w, Tolerances.Ridge.Forward);
    }

    [Fact]
    public void Forgetting_FollowsWhatChanged()
    {
        RidgeMemoryConfiguration forgetful = s_small with { Forget = 0.98 };
        using RidgeMemory keeps = new(_device, s_small, 1), forgets = new(_device, forgetful, 1);
        (float[] x, _) = Samples(900, seed: 4);
        double kept = 0, followed = 0;
        for (int i = 0; i < 900; i++)
        {
            float[] key = Row(x, i);
            float target = i < 400 ? key[0] : -key[0];
            if (i >= 800)
            {
                kept += Math.Abs(keeps.Predict(key)[0] - target);
                followed += Math.Abs(forgets.Predict(key)[0] - target);
            }

            keeps.Learn(key, [target]);
            forgets.Learn(key, [target]);
        }

        // The mean of both halves against the second alone.
        Assert.True(followed < 0.01 * kept, $"{followed} of {kept}");
    }

    [Theory]
    [InlineData("managed")]
    [InlineData("cpu")]
    public void SavedMemory_GoesOnToTheSameBits(string backend)
    {
        if (Device.Probe().Single(r => r.Name == backend) is { Available: false } report)
            Assert.Skip(report.Detail);
        using var device = Device.Open(backend);
        (float[] x, int[] labels) = Samples(60, seed: 5);
        using var memory = new RidgeMemory(device, s_small with { Forget = 0.99 });
        using Tensor first = device.From([30, Features], x.AsSpan(0, 30 * Features));
        using Tensor second = device.From([30, Features], x.AsSpan(30 * Features));
        memory.Learn(first, labels.AsSpan(0, 30));
        string path = Path.Combine(_folder, "memory.safetensors");
        memory.Save(path);
        using var loaded = RidgeMemory.Load(device, path);
        Assert.Equal(memory.Configuration, loaded.Configuration);
        Assert.Equal(memory.Labels, loaded.Labels);
        Assert.Equal(30, loaded.Samples);
        memory.Learn(second, labels.AsSpan(30));
        loaded.Learn(second, labels.AsSpan(30));
        Compare.SameBits("w", loaded.Weights.ToArray(), memory.Weights.ToArray());
        SafetensorsFile one = new(), other = new();
        memory.Save(one, "m.");
        loaded.Save(other, "m.");
        Assert.Equal("F64", other.TypeOf("m.factor"));
        Shape length = other.ShapeOf("m.factor");
        Assert.Equal(one.Doubles("m.factor", length), other.Doubles("m.factor", length));
    }

    [Fact]
    public void FileThatIsTooSmallForItsFeatures_IsRefused_BeforeMemoryIsTaken()
    {
        (float[] x, int[] labels) = Samples(10, seed: 1);
        using RidgeMemory memory = Learned(s_small, x, labels);
        var file = new SafetensorsFile();
        memory.Save(file, "");
        string json = file.Metadata["configuration"];
        file.Metadata["configuration"] = json.Replace($"\"Features\":{Features}", "\"Features\":40000", StringComparison.Ordinal);
        Assert.NotEqual(json, file.Metadata["configuration"]);
        string path = Path.Combine(_folder, "features.safetensors");
        file.Save(path);
        using var device = Device.Open("managed");
        Assert.Throws<CheckpointException>(() => RidgeMemory.Load(device, path));
        Assert.Equal(0, device.AllocatedBytes);
    }

    [Fact]
    public void OtherConfigurationsAndBrokenFiles_AreRefused_AndNothingChanges()
    {
        (float[] x, int[] labels) = Samples(30, seed: 6);
        using RidgeMemory memory = Learned(s_small, x, labels);
        var file = new SafetensorsFile();
        memory.Save(file, "");
        float[] before = memory.Weights.ToArray();
        using var other = new RidgeMemory(_device, s_small with { Forget = 0.5, Regularizer = 2 });
        string message = Assert.Throws<CheckpointException>(() => other.Load(file, "")).Message;
        Assert.Contains("Forget is 1 in the file and 0.5 here", message, StringComparison.Ordinal);
        Assert.Contains("Regularizer is 0.5 in the file and 2 here", message, StringComparison.Ordinal);
        other.Load(file, "", allow: ["Forget", "Regularizer"]);
        Compare.SameBits("w", other.Weights.ToArray(), before);

        void Refused(string expected, Action<SafetensorsFile> add, params string[] without)
        {
            var broken = new SafetensorsFile();
            foreach ((string key, string value) in file.Metadata)
                broken.Metadata[key] = value;
            add(broken);
            foreach (string name in file.Names.Where(n => !broken.Contains(n) && !without.Contains(n)))
            {
                if (name is "labels" or "samples")
                    broken.Add(name, file.Integers(name, file.ShapeOf(name)[0]));
                else if (name == "factor")
                    broken.AddDoubles(name, file.ShapeOf(name), file.Doubles(name, file.ShapeOf(name)));
                else
                    broken.Add(name, file.ShapeOf(name), file.Floats(name));
            }

            Assert.Contains(expected, Assert.Throws<CheckpointException>(() => memory.Load(broken, "")).Message, StringComparison.Ordinal);
            Compare.SameBits("w", memory.Weights.ToArray(), before);
        }

        Shape length = file.ShapeOf("factor");
        double[] factor = file.Doubles("factor", length).ToArray();
        Refused("There is no tensor 'factor'", _ => { }, "factor");
        Refused("Tensor 'factor' is F32, expected F64", f => f.Add("factor", [3], new float[3]));
        Refused("Tensor 'factor' has shape [3]", f => f.AddDoubles("factor", [3], new double[3]));
        Refused("a diagonal that is not above 0", f => f.AddDoubles("factor", length, new double[factor.Length]));
        Refused("a number that is not finite", f => f.AddDoubles("factor", length, [.. factor[..^1], double.NaN]));
        Refused("a label twice", f => f.Add("labels", [0, 1, 2, 3, 4, 0]));
        Refused("Tensor 'w' has shape [24, 6], expected [24, 5]", f => f.Add("labels", [0, 1, 2, 3, 4]));
        Refused("'samples' is -1", f => f.Add("samples", [-1L]));
        Assert.Contains("has no 'configuration'",
            Assert.Throws<CheckpointException>(() => memory.Load(new SafetensorsFile(), "")).Message, StringComparison.Ordinal);
    }

    [Fact]
    public void BadArguments_AreNamed_AndAddNoOutput()
    {
        using var memory = new RidgeMemory(_device, s_small, 2);
        void Contains(string expected, Action action) =>
            Assert.Contains(expected, Assert.ThrowsAny<Exception>(action).Message, StringComparison.Ordinal);

        Contains("x has 3 elements, expected 24", () => memory.Learn(new float[3], 1));
        Contains("y has 3 elements, expected 2", () => memory.Learn(new float[Features], new float[3]));
        float[] bad = new float[Features];
        bad[5] = float.NaN;
        Contains("x has NaN at [0, 5]", () => memory.Learn(bad, 77));
        using Tensor keys = _device.Zeros([3, Features]), narrow = _device.Zeros([3, Features - 1]);
        Contains("There are 2 labels, expected 3", () => memory.Learn(keys, [5, 6]));
        Contains("x has shape [3, 23], expected [3, 24]", () => memory.Learn(narrow, [5, 6, 7]));
        Assert.Equal([0, 1], memory.Labels);
        Assert.Equal(0, memory.Samples);
        using var empty = new RidgeMemory(_device, s_small);
        Contains("no label was learned", () => empty.Classify(new float[Features]));
        Contains("Features is 0, expected 1 to 46320", () => new RidgeMemoryConfiguration { Features = 0 }.Validate());
        Contains("Regularizer is 0, expected 1e-30 to 1e30", () => new RidgeMemoryConfiguration { Regularizer = 0 }.Validate());
        Contains("Forget is 2, expected a number above 0", () => new RidgeMemoryConfiguration { Forget = 2 }.Validate());
    }

    /// <summary>
    /// Digits two classes at a time, no sample kept and none seen twice: trained on 43 people, tested on 13 others, with three seeds
    /// of the features. Scale and regularizer are the best of sixteen by four-fold cross-validation on the training set.
    /// </summary>
    [Fact]
    public void SplitDigits_AreLearnedClassByClass()
    {
        (float[] x, int[] labels) = Digits("optdigits_tra.csv.gz");
        (float[] testX, int[] testLabels) = Digits("digits.csv.gz");
        using var device = Device.Open();
        int right = 0;
        const int Seeds = 3;
        for (ulong seed = 1; seed <= Seeds; seed++)
        {
            using var random = new RandomFeatures(device, 64, 2000, RandomFeatureKind.Fourier, scale: 3, seed);
            using var memory = new RidgeMemory(device, new RidgeMemoryConfiguration { Features = 2000, Regularizer = 0.01 });
            for (int task = 0; task < 5; task++)
            {
                int[] part = [.. Enumerable.Range(0, labels.Length).Where(i => labels[i] / 2 == task)];
                using Tensor keys = device.From([part.Length, 64], [.. part.SelectMany(i => x[(i * 64)..((i + 1) * 64)])]);
                using Tensor features = random.Of(keys);
                memory.Learn(features, [.. part.Select(i => labels[i])]);
            }

            using Tensor test = device.From([testLabels.Length, 64], testX), testFeatures = random.Of(test);
            int correct = memory.Classify(testFeatures).Zip(testLabels).Count(p => p.First == p.Second);
            TestContext.Current.TestOutputHelper?.WriteLine(FormattableString.Invariant($"seed {seed}: {correct} of {testLabels.Length}"));
            right += correct;
        }

        double accuracy = (double)right / (Seeds * testLabels.Length);
        Assert.True(accuracy >= 0.984, FormattableString.Invariant($"{accuracy:P2} of the test digits, expected 98.4 %"));
    }

    // Pixels from 0 to 1, and the digit.
    private static (float[] X, int[] Labels) Digits(string name)
    {
        string? repository = SharedFiles.Repository;
        string path = Path.Combine(repository ?? "", "..", "shared", "data", name);
        Assert.SkipUnless(repository is not null && File.Exists(path), $"There is no file '{path}': the data are not here.");
        using var reader = new StreamReader(new GZipStream(File.OpenRead(path), CompressionMode.Decompress));
        List<float> x = [];
        List<int> labels = [];
        while (reader.ReadLine() is { Length: > 0 } line)
        {
            int[] numbers = [.. line.Split(',').Select(n => (int)float.Parse(n, CultureInfo.InvariantCulture))];
            Assert.Equal(65, numbers.Length);
            x.AddRange(numbers.Take(64).Select(n => n / 16f));
            labels.Add(numbers[64]);
        }

        return ([.. x], [.. labels]);
    }

    private static float[] Row(float[] x, int i) => x[(i * Features)..((i + 1) * Features)];

    // Classes around centres of their own.
    private static (float[] X, int[] Labels) Samples(int count, ulong seed)
    {
        float[] centres = new TestData(100).Normal(Classes * Features), x = new TestData(seed).Normal(count * Features);
        int[] labels = [.. Enumerable.Range(0, count).Select(i => i * 7 % Classes)];
        for (int i = 0; i < count; i++)
        {
            for (int j = 0; j < Features; j++)
                x[i * Features + j] = 0.6f * x[i * Features + j] + centres[labels[i] * Features + j];
        }

        return (x, labels);
    }

    private RidgeMemory Learned(RidgeMemoryConfiguration configuration, float[] x, int[] labels)
    {
        var memory = new RidgeMemory(_device, configuration);
        using Tensor keys = _device.From([labels.Length, Features], x);
        memory.Learn(keys, labels);
        return memory;
    }
}
