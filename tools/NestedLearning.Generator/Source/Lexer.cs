using System.Globalization;
using System.Text.RegularExpressions;

namespace NestedLearning.Generator;

internal enum TokenKind
{
    Word,
    Number,
    Text,
    Sign,

    /// <summary><c>#define NAME number</c>, as one.</summary>
    Define,
    End,
}

/// <param name="Value">A number's value.</param>
internal readonly record struct Token(TokenKind Kind, string Text, int Line, int Value = 0);

/// <summary>A comment; lines of <c>//</c> below each other, with nothing before them, are one.</summary>
/// <param name="IsAlone">Whether nothing stands before it in its first line.</param>
internal sealed record Comment(int First, int Last, bool IsAlone, IReadOnlyList<string> Lines);

/// <summary>
/// Tokens and comments of a source. Of the preprocessor: include guards, includes, <c>NL_API</c>, numbers, and what depends on
/// <see cref="s_undefined"/>.
/// </summary>
internal sealed partial class Lexer
{
    // Names that conditions may ask for. None is defined: the declarations are those of C, of a system other than Windows.
    private static readonly string[] s_undefined = ["_WIN32", "NL_BUILDING_LIBRARY", "__cplusplus"];

    private static readonly string[] s_signs = ["&&", "||", "==", "!=", "<=", ">=", "::"];

    private readonly string _file, _text;
    private readonly Stack<bool> _conditions = new();
    private readonly List<Token> _tokens = [];
    private readonly List<Comment> _comments = [];
    private readonly List<string> _includes = [];
    private int _at, _line = 1;
    private bool _isLineEmpty = true;
    private string? _guard;

    private Lexer(string file, string text) => (_file, _text) = (file, text.ReplaceLineEndings("\n"));

    public static (IReadOnlyList<Token> Tokens, IReadOnlyList<Comment> Comments, IReadOnlyList<string> Includes) Read(string file,
        string text)
    {
        var lexer = new Lexer(file, text);
        while (lexer._at < lexer._text.Length)
            lexer.Next();
        if (lexer._conditions.Count > 0)
            throw new SourceException(file, lexer._line, "the file ends before an #endif");
        lexer._tokens.Add(new Token(TokenKind.End, "the end of the file", lexer._line));
        return (lexer._tokens, lexer._comments, lexer._includes);
    }

    private bool IsActive => !_conditions.Contains(false);

    private void Next()
    {
        char c = _text[_at];
        if (c == '\n')
            (_at, _line, _isLineEmpty) = (_at + 1, _line + 1, true);
        else if (char.IsWhiteSpace(c))
            _at++;
        else if (_text.AsSpan(_at).StartsWith("/*"))
            BlockComment();
        else if (_text.AsSpan(_at).StartsWith("//"))
            LineComment();
        else if (c == '#' && _isLineEmpty)
            Directive(Line()[1..].Trim());
        else if (!IsActive)
            _at++;
        else
        {
            Token token = Scan(c);
            _at += token.Text.Length;
            _isLineEmpty = false;
            _tokens.Add(token.Kind == TokenKind.Text ? token with { Text = token.Text[1..^1] } : token);
        }
    }

    private Token Scan(char c)
    {
        if (char.IsAsciiLetter(c) || c == '_')
            return new Token(TokenKind.Word, WordPattern().Match(_text, _at).Value, _line);
        if (char.IsAsciiDigit(c))
        {
            string digits = WordPattern().Match(_text, _at).Value;
            return new Token(TokenKind.Number, digits, _line, Number(digits));
        }

        if (c == '"')
        {
            int end = _text.IndexOf('"', _at + 1);
            string text = end < 0 ? "\n" : _text[_at..(end + 1)];
            return text.Contains('\n', StringComparison.Ordinal) || text.Contains('\\', StringComparison.Ordinal)
                ? throw Error("expected a text that ends in its line, without escapes")
                : new Token(TokenKind.Text, text, _line);
        }

        string? sign = s_signs.FirstOrDefault(s => _text.AsSpan(_at).StartsWith(s))
            ?? ("{}()[];,=:?*/%+-<>!".Contains(c, StringComparison.Ordinal) ? c.ToString() : null);
        return sign is null ? throw Error($"the character '{c}' is not known here") : new Token(TokenKind.Sign, sign, _line);
    }

    private void BlockComment()
    {
        int end = _text.IndexOf("*/", _at, StringComparison.Ordinal);
        if (end < 0)
            throw Error("the comment does not end");
        string[] lines = _text[(_at + 2)..end].Split('\n');
        for (int i = 0; i < lines.Length; i++)
        {
            string line = lines[i].TrimEnd();
            // The star that lines after the first begin with.
            lines[i] = i == 0 ? line.TrimStart() : StarPattern().Replace(line, "");
        }

        Add(new Comment(_line, _line + lines.Length - 1, _isLineEmpty,
            [.. lines.SkipWhile(l => l.Length == 0).Reverse().SkipWhile(l => l.Length == 0).Reverse()]));
        _line += lines.Length - 1;
        _at = end + 2;
    }

    private void LineComment()
    {
        string line = Line()[2..];
        line = line.StartsWith(' ') ? line[1..] : line;
        if (_isLineEmpty && IsActive && _comments is [.., { IsAlone: true } last] && last.Last == _line - 1)
            _comments[^1] = last with { Last = _line, Lines = [.. last.Lines, line.TrimEnd()] };
        else
            Add(new Comment(_line, _line, _isLineEmpty, [line.TrimEnd()]));
    }

    private void Add(Comment comment)
    {
        if (IsActive)
            _comments.Add(comment);
    }

    // The rest of the line, which is passed by.
    private string Line()
    {
        int end = _text.IndexOf('\n', _at);
        string line = end < 0 ? _text[_at..] : _text[_at..end];
        _at += line.Length;
        return line;
    }

    private void Directive(string line)
    {
        Match comment = DirectiveCommentPattern().Match(line);
        if (comment.Success)
            Add(new Comment(_line, _line, false, [comment.Value.Trim('/', '*', ' ')]));
        string[] words = (comment.Success ? line[..comment.Index] : line).Split(' ', StringSplitOptions.RemoveEmptyEntries);
        switch (words)
        {
            case ["endif"] when _conditions.Count > 0:
                _conditions.Pop();
                break;
            case ["else"] when _conditions.Count > 0:
                _conditions.Push(!_conditions.Pop());
                break;
            case ["ifndef", string name] when _guard is null && GuardPattern().IsMatch(name):
                _guard = name;
                _conditions.Push(true);
                break;
            case ["ifdef", string name] when s_undefined.Contains(name):
            case ["if", string condition] when s_undefined.Any(n => condition == $"defined({n})"):
                _conditions.Push(false);
                break;
            case ["define", string name] when name == _guard:
            case ["define", "NL_API", ..]:
                break;
            case ["include", string name] when IsActive:
                _includes.Add(name.Trim('"', '<', '>'));
                break;
            case ["define", string name, string value] when !IsActive || ConstantPattern().IsMatch(name):
                if (IsActive)
                    _tokens.Add(new Token(TokenKind.Define, name, _line, Number(value)));
                break;
            default:
                throw Error("expected an include guard, an #include, '#define NL_NAME number' or a condition on " +
                    $"{string.Join(", ", s_undefined)}, not '#{line}'");
        }
    }

    private int Number(string digits) =>
        int.TryParse(digits, NumberStyles.None, CultureInfo.InvariantCulture, out int value) ? value
        : throw Error($"expected a decimal number of int, not '{digits}'");

    private SourceException Error(string message) => new(_file, _line, message);

    [GeneratedRegex(@"/\*.*\*/\s*$|//.*$")]
    private static partial Regex DirectiveCommentPattern();

    [GeneratedRegex(@"\G[A-Za-z0-9_]+")]
    private static partial Regex WordPattern();

    [GeneratedRegex(@"^\s*\* ?|^\s+(?=\S)")]
    private static partial Regex StarPattern();

    [GeneratedRegex("^NESTED_LEARNING_[A-Z0-9_]*H_$")]
    private static partial Regex GuardPattern();

    [GeneratedRegex("^NL_[A-Z0-9_]+$")]
    private static partial Regex ConstantPattern();
}
