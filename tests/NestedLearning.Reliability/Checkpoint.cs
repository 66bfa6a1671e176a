using NestedLearning.Models;

namespace NestedLearning.Reliability;

internal static class Checkpoint
{
    /// <summary>A learner's file.</summary>
    public static byte[] Of(StreamLearner learner)
    {
        var file = new SafetensorsFile();
        learner.Save(file, "");
        return file.ToBytes();
    }
}
