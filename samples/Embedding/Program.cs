using NestedLearning;
using NestedLearning.Models;

using Device device = Device.Open();
using StreamLearner model = StreamLearner.Create(device, new ModelConfiguration(), "reader");
foreach (byte[] segment in File.ReadAllBytes(args[0]).Chunk(model.SegmentLength))
{
    float[] losses = new float[segment.Length];
    model.Read(segment, losses);   // predicts each byte, is scored, then learns
    Console.WriteLine($"{model.Position} bytes: {losses.Average() / MathF.Log(2):F2} bits per byte");
}
