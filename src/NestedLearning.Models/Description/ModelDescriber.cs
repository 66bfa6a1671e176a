namespace NestedLearning.Models;

/// <summary>Gathers a model's memories: fast ones from its mixers, slow ones and their optimizers' from its levels.</summary>
internal static class ModelDescriber
{
    public static ModelDescription Describe(SequenceModel model, long context, int batch)
    {
        MemoryDescription[] memories = [.. FastMemories(model, context, batch), Errors(model),
            .. model.Levels.Levels.SelectMany(l => SlowMemories(model, l))];
        long slowest = memories.Max(m => m.Period);
        return new ModelDescription(
            model.Configuration.Mixer, model.ParameterCount, batch, context, model.Configuration.ContextLength,
            [.. memories.OrderBy(m => m.Period).Select(m => m with { Frequency = (double)slowest / m.Period })]);
    }

    // A model's blocks are alike, so that each memory stands for those of all.
    private static IEnumerable<MemoryDescription> FastMemories(SequenceModel model, long context, int batch)
    {
        ITokenMixer mixer = model.Mixers.First();
        int blocks = model.Configuration.Blocks;
        foreach (StateDescription state in mixer.Describe())
        {
            long elements = mixer.State.Where(p => state.Parts.Contains(p.Name))
                .Sum(p => (long)(p.Shape(batch, context)?.ElementCount ?? 0));
            yield return new MemoryDescription
            {
                Name = state.Name,
                Memory = $"{state.Memory}, in {InBlocks(blocks)}",
                ContextFlow = state.ContextFlow,
                Rule = state.Rule,
                Period = state.Period,
                Bytes = blocks * elements * sizeof(float),
            };
        }
    }

    private static MemoryDescription Errors(SequenceModel model) => new()
    {
        Name = "error terms",
        Memory = "sums of gradients that wait for their level's commit",
        ContextFlow = "gradients of the loss",
        Rule = "e ← e + ∇L (NL 71)",
        Period = 1,
        Bytes = Bytes(model.Levels.Parameters.Select(p => p.Error)),
    };

    private static IEnumerable<MemoryDescription> SlowMemories(SequenceModel model, Level level)
    {
        HashSet<Parameter> continuum = [.. model.ContinuumParameters];
        string rule = string.Join(" | ", level.Memories.Select(m => m.Optimizer.Rule).Distinct());
        foreach (IGrouping<bool, Parameter> group in level.Parameters.GroupBy(continuum.Contains).OrderByDescending(g => g.Key))
        {
            yield return new MemoryDescription
            {
                Name = group.Key ? $"level {level.Name}" : $"level {level.Name}: projections",
                Memory = group.Key ? $"continuum memory, in {InBlocks(model.Configuration.Blocks)}"
                : "embedding, projections, norms and learned starts of fast memories",
                ContextFlow = $"error terms of {level.Chunk} steps",
                Rule = rule,
                Period = level.Chunk,
                Parameters = group.Sum(p => (long)p.Value.Count),
                Bytes = Bytes(group.Select(p => p.Value)),
            };
        }

        var optimizers = level.Memories.SelectMany(m => m.Levels.Select(l => (m.Optimizer.Rule, Level: l)));
        foreach (var group in optimizers.GroupBy(m => (m.Rule, m.Level.Name, m.Level.Period)))
        {
            yield return new MemoryDescription
            {
                Name = $"optimizer of level {level.Name}: {group.Key.Name}",
                Memory = "memory of gradients",
                ContextFlow = $"error terms of level {level.Name}",
                Rule = group.Key.Rule,
                Period = (long)level.Chunk * group.Key.Period,
                Bytes = group.Sum(m => m.Level.Bytes),
            };
        }
    }

    private static string InBlocks(int blocks) => blocks == 1 ? "1 block" : $"each of {blocks} blocks";

    private static long Bytes(IEnumerable<Tensor> tensors) => tensors.Sum(t => (long)sizeof(float) * t.Count);
}
