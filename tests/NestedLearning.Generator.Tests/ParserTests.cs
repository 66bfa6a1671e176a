using Xunit;

namespace NestedLearning.Generator.Tests;

/// <summary>Sources in other forms than the parser knows are refused with the place and with what was expected.</summary>
public sealed class ParserTests
{
    private const string Head = "#ifndef NESTED_LEARNING_H_\n#define NESTED_LEARNING_H_\n#include <stdint.h>\n/* ---- Test ---- */\n";
    private const string End = "\n#endif\n";

    [Theory]
    [InlineData("int x;", "5: expected #define NL_NAME, enum, typedef struct or NL_API")]
    [InlineData("#pragma once", "5: expected an include guard")]
    [InlineData("#define NL_A (1 + 2)", "5: expected an include guard")]
    [InlineData("#define NL_A 0x10", "5: expected a decimal number")]
    [InlineData("#if NL_A\n#endif", "5: expected an include guard")]
    [InlineData("#include \"other.h\"\nenum nl_a { NL_A = 0 };", "1: expected #include <stdint.h> and nothing else")]
    [InlineData("enum nl_a { NL_A };", "5: expected '=' after 'NL_A'")]
    [InlineData("enum nl_a { NL_A = 1, NL_B = 1 };", "5: nl_a has NL_A and NL_B with one value")]
    [InlineData("enum other { NL_A = 1 };", "5: expected an enum's name that begins with nl_")]
    [InlineData("typedef struct nl_a {\n  int32_t size;\n} nl_a;", "6: expected 'uint32_t size' as the first field")]
    [InlineData("typedef struct nl_a {\n  uint32_t size;\n  short x;\n} nl_a;", "7: expected int32_t")]
    [InlineData("typedef struct nl_a {\n  uint32_t size;\n  int32_t x : 3;\n} nl_a;", "7: expected ';' after the field 'x'")]
    [InlineData("typedef struct nl_a {\n  uint32_t size;\n  float *a, *b;\n} nl_a;", "7: expected a field's name")]
    [InlineData("typedef struct nl_a {\n  uint32_t size;\n  float* a, b;\n} nl_a;", "7: expected one pointer in a line")]
    [InlineData("typedef struct nl_a {\n  uint32_t size;\n  float** a;\n} nl_a;", "7: expected at most one star")]
    [InlineData("typedef struct nl_a {\n  uint32_t size;\n  uint32_t size;\n} nl_a;", "7: nl_a has two fields 'size'")]
    [InlineData("typedef struct nl_a {\n  uint32_t size;\n  int32_t x;\n} nl_b;", "8: expected 'nl_a' again")]
    [InlineData("NL_API void nl_f(void);", "5: expected int32_t, uint32_t or const char* as a function's result")]
    [InlineData("NL_API int32_t nl_f(size_t x);", "5: expected int32_t")]
    [InlineData("NL_API int32_t nl_f(const nl_unknown* x);", "5: expected int32_t")]
    [InlineData("NL_API int32_t nl_f(int32_t x) { return x; }", "5: expected ';' after nl_f")]
    [InlineData("#define NL_A 1\n#define NL_A 2", "6: 'NL_A' is declared twice")]
    [InlineData("/* not ended", "5: the comment does not end")]
    [InlineData("#define NL_A 1\n/* ---- Empty ---- */\n/* ---- Another ---- */\n#define NL_B 1",
        "6: expected declarations under the heading")]
    public void OtherForms_OfTheHeader_AreRefused(string text, string expected)
    {
        SourceException e = Assert.Throws<SourceException>(() => HeaderParser.Parse("a.h", Head + text + End));
        Assert.StartsWith("a.h:" + expected, e.Message, StringComparison.Ordinal);
    }

    [Theory]
    [InlineData("constexpr long kA = 1;", "expected 'int' after constexpr")]
    [InlineData("constexpr int a = 1;", "expected a constant's name such as kScanThreads")]
    [InlineData("constexpr int kA = kB;", "expected a constant or a parameter, not 'kB'")]
    [InlineData("constexpr int kA = 1 << 4;", "expected a number, a name or a parenthesis, not '<'")]
    [InlineData("constexpr int F(long a) { return a; }", "expected int or bool")]
    [InlineData("constexpr int F(int a) { if (a) return 1; return 2; }", "expected 'return' or 'const int' in F")]
    [InlineData("constexpr int F(int a) { return G(a); }", "there is no function 'G' of 1 arguments before this line")]
    [InlineData("enum class A { kA };", "expected ':' after A")]
    [InlineData("struct A { uint16_t x; };", "expected int32_t")]
    [InlineData("struct A : B { int32_t x; };", "expected a struct that is defined before, not 'B'")]
    [InlineData("template <int N> struct A { int32_t x; };", "expected constexpr int, enum class or struct")]
    [InlineData("struct A { int32_t x = 0; };", "expected ';' after the field 'x'")]
    public void OtherForms_OfCuh_AreRefused(string text, string expected)
    {
        string file = "#ifndef NESTED_LEARNING_A_CUH_\n#define NESTED_LEARNING_A_CUH_\n#include \"cuda/cuda.h\"\nnamespace " +
            $"nested_learning {{\n{text}\n}}\n#endif\n";
        SourceException e = Assert.Throws<SourceException>(() => CudaParser.Parse("a.cuh", file, []));
        Assert.StartsWith("a.cuh:5: " + expected, e.Message, StringComparison.Ordinal);
    }

    [Theory]
    [InlineData("  int64_t x;", "7: expected no padding before 'x'")]
    [InlineData("  int32_t x;\n  double* y;\n  float z;", "9: expected no padding after 'z'")]
    public void Padding_IsRefused(string fields, string expected)
    {
        SourceFile file = HeaderParser.Parse("a.h", $"{Head}typedef struct nl_a {{\n  uint32_t size;\n{fields}\n}} nl_a;{End}");
        SourceException e = Assert.Throws<SourceException>(() => new Layout([file]));
        Assert.StartsWith("a.h:" + expected, e.Message, StringComparison.Ordinal);
    }

    [Fact]
    public void Comments_AreOfTheDeclarationTheyStandAt()
    {
        SourceFile file = HeaderParser.Parse("a.h", $$"""
            /* The file. */
            {{Head}}
            /* Apart. */

            /* Above. */
            typedef struct nl_a {
              uint32_t size; /* behind */
              /* Above a field,
               *   indented. */
              int32_t x;
            } nl_a;
            {{End}}
            """);
        Struct s = file.Structs.Single();
        Assert.Equal(["The file."], file.Head!.Lines);
        Assert.Equal(["Above."], s.Doc!.Lines);
        Assert.Equal(["behind"], s.Fields[0].Doc!.Lines);
        Assert.Equal(["Above a field,", "  indented."], s.Fields[1].Doc!.Lines);
    }

    [Fact]
    public void Formulas_AreWrittenWithTheirMeaning()
    {
        SourceFile file = CudaParser.Parse("native/kernels/a/a.cuh", """
            #ifndef NESTED_LEARNING_A_CUH_
            #define NESTED_LEARNING_A_CUH_
            #include "cuda/cuda.h"
            namespace nested_learning {
            constexpr int kAB = 3, kATwo = kAB - (1 - 2);
            constexpr int AF(int n, bool odd) {
              const int half_n = (n + 1) / 2;
              return (half_n - (n - 1)) * kAB % 5 + (odd && !(n == 2) || n >= 7 ? -n : AG(n) - kATwo);
            }
            }
            #endif
            """.Replace("AG(n)", "n * (2 + n)", StringComparison.Ordinal), []);
        string text = CudaBindings.Files([file], new Layout([file]))
            .Single().Text.Replace(Writer.Break.ToString(), "", StringComparison.Ordinal);
        Assert.Contains("public const int Two = B - (1 - 2);", text, StringComparison.Ordinal);
        Assert.Contains("int halfN = (n + 1) / 2;", text, StringComparison.Ordinal);
        Assert.Contains("return (halfN - (n - 1)) * B % 5 + (odd && !(n == 2) || n >= 7 ? -n : n * (2 + n) - Two);", text,
            StringComparison.Ordinal);
        var evaluator = new Evaluator([file]);
        Assert.Equal(((3 - 4) * 3 % 5) - 5, evaluator.Value("AF", 5, 1));
        Assert.Equal(((3 - 4) * 3 % 5) + 35 - 4, evaluator.Value("AF", 5, 0));
    }
}
