using Xunit;

namespace NestedLearning.Models.Tests;

public sealed class DescriptionTests : IDisposable
{
    private readonly Device _device = Device.Open("managed");

    public static TheoryData<string> Models => StreamingTests.Models;

    [Theory]
    [MemberData(nameof(Models))]
    public void Memories_AreSortedFastToSlow_AndTheirBytesAreThoseOfTheModelAndItsState(string name)
    {
        ModelConfiguration configuration = StreamingTests.Small(name) with
        {
            Levels = [new("fast", 4, 1e-3f, 10), new("slow", 12, 1e-3f, 6)],
        };
        using var model = new SequenceModel(_device, configuration);
        using SequenceState start = model.NewState(2);
        // 13 tokens: inside a chunk and inside a segment after the first.
        using IndexTensor tokens = _device.FromIndices([2, 13], new int[26]);
        using var tape = new Tape(_device, recording: false);
        (_, SequenceState state) = model.Forward(tape, tokens, start);
        using (state)
        {
            var file = new SafetensorsFile();
            state.Save(file, "");
            long fast = file.Names.Where(file.HoldsFloats).Sum(n => 4L * file.ShapeOf(n).ElementCount);
            ModelDescription description = model.Describe(state);
            Assert.Equal((2, 13, configuration.Mixer), (description.Batch, description.Context, description.Mixer));
            Assert.Equal(description.Memories.Select(m => m.Period).Order(), description.Memories.Select(m => m.Period));
            // Values, error terms and Adam's two moments of every parameter, and the state.
            Assert.Equal(4 * 4 * model.ParameterCount + fast, description.Bytes);
            Assert.Equal(model.ParameterCount, description.Parameters);
            Assert.Equal(model.ParameterCount, description.Memories.Sum(m => m.Parameters));
            Assert.Equal(fast, description.Memories.Where(m =>
                m.Parameters == 0 && m.Name != "error terms" && !m.Name.StartsWith("optimizer", StringComparison.Ordinal))
                .Sum(m => m.Bytes));
            Assert.Equal([12.0, 3.0, 1.0], description.Memories.Where(m => m.Period is 1 or 4 or 12).Select(m => m.Frequency).Distinct());
            MemoryDescription slow = description.Memories.Single(m => m.Name == "level slow");
            Assert.Equal(12, slow.Period);
            Assert.Contains("AdamW", slow.Rule, StringComparison.Ordinal);
            Assert.All(description.Memories, m => Assert.Contains(m.Name, description.ToString(), StringComparison.Ordinal));
        }
    }

    [Fact]
    public void Context_IsCounted()
    {
        using var model = new SequenceModel(_device, ModelConfiguration.HopeAttention with
        {
            Dim = 16,
            Heads = 2,
            Levels = [new("only", 8, 1e-3f, 8)],
            ProjectionLevel = 0,
        });
        MemoryDescription Cache(long? context, int batch) =>
            model.Describe(context, batch).Memories.Single(m => m.Name == "key–value cache");
        // Keys and values of 16 numbers a token, two blocks.
        Assert.Equal(2 * 2 * 16 * 4 * 100, Cache(100, 1).Bytes);
        Assert.Equal(3 * 2 * 2 * 16 * 4 * 100, Cache(100, 3).Bytes);
        Assert.Equal(2 * 2 * 16 * 4 * 255, Cache(null, 1).Bytes);
        Assert.Equal(0, Cache(0, 1).Bytes);
        Assert.Throws<ArgumentOutOfRangeException>(() => model.Describe(256));
        Assert.Throws<ArgumentOutOfRangeException>(() => model.Describe(-1));
        Assert.Throws<ArgumentOutOfRangeException>(() => model.Describe(1, 0));
    }

    public void Dispose() => _device.Dispose();
}
