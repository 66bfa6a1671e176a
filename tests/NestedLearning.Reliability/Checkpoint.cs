using NestedLearning.Models;

namespace NestedLearning.Reliability;

internal static class Checkpoint
{
    /// <summary>A learner's file.</summary>
    public static byte[] Of(StreamLearner learner)
    {
        string path = Path.GetTempFileName();
        try
        {
            learner.Save(path);
            return File.ReadAllBytes(path);
        }
        finally
        {
            File.Delete(path);
        }
    }
}
