using System.Reflection;
using NestedLearning.Gpu.Cuda;
using Xunit;

namespace NestedLearning.Generator.Tests;

/// <summary>
/// The .cuh files and the C# that is made from them declare the same things. native/cuda/tests/layout_test.cc has the compiler confirm
/// what is computed here.
/// </summary>
public sealed class CudaTests
{
    private static readonly Assembly s_gpu = typeof(CudaModules).Assembly;

    [Fact]
    public void Structs_AreTheSources_FieldByField()
    {
        var layout = new Layout(Sources.Cuda);
        int compared = 0;
        foreach (SourceFile file in Sources.Cuda)
        {
            foreach (Struct s in file.Structs)
            {
                string? inherited = s.Base is null ? null : Names.InFile(s.Base, Names.Stem(file.Path));
                Compared.AssertStruct(s, TypeOf(s.Name), layout, Bindings.FieldsOf(file, s), inherited);
                compared++;
            }
        }

        Assert.True(compared >= Sources.Cuda.Count, $"only {compared} structs were compared");
    }

    [Fact]
    public void Constants_AreTheSources()
    {
        var evaluator = new Evaluator(Sources.Cuda);
        foreach (SourceFile file in Sources.Cuda.Where(f => f.Constants.Any()))
        {
            string stem = Names.Stem(file.Path);
            Assert.Equal(
                file.Constants.Select(c => (Names.InFile(c.Name, stem), evaluator.Value(c.Value))).Order(),
                Compared.Constants(TypeOf($"{stem}Kernels")).Select(c => (c.Key, c.Value)).Order());
        }
    }

    [Fact]
    public void Functions_HaveTheSourcesValues()
    {
        int[] tried = [1, 2, 15, 16, 17, 31, 32, 33, 47, 63, 64, 65, 96, 100, 127, 128];
        var evaluator = new Evaluator(Sources.Cuda);
        int compared = 0;
        foreach (SourceFile file in Sources.Cuda)
        {
            string stem = Names.Stem(file.Path);
            foreach (Formula formula in file.Formulas)
            {
                Type[] types = [.. formula.Parameters.Select(p => p.Type.Name == "bool" ? typeof(bool) : typeof(int))];
                MethodInfo method = TypeOf($"{stem}Kernels").GetMethod(Names.InFile(formula.Name, stem), Compared.Static, types)!;
                IEnumerable<int[]> all = types.Aggregate(
                    (IEnumerable<int[]>)[[]], (first, type) =>
                    first.SelectMany(f => (type == typeof(bool) ? [0, 1] : tried).Select(next => (int[])[.. f, next])));
                foreach (int[] arguments in all)
                {
                    object[] boxed = [.. arguments.Select((a, i) => types[i] == typeof(bool) ? (object)(a != 0) : a)];
                    Assert.Equal(evaluator.Value(formula.Name, arguments), (int)method.Invoke(null, boxed)!);
                    compared++;
                }
            }
        }

        Assert.True(compared > 1000, $"only {compared} values were compared");
    }

    private static Type TypeOf(string name) => s_gpu.GetType($"{typeof(CudaModules).Namespace}.{name}", throwOnError: true)!;
}
