"""`changes`: what can go wrong in a line, one small change at a time."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

_COMPARED = {
    ast.Lt: "<=", ast.LtE: "<", ast.Gt: ">=", ast.GtE: ">", ast.Eq: "!=", ast.NotEq: "==",
    ast.Is: "is not", ast.IsNot: "is", ast.In: "not in", ast.NotIn: "in",
}  # fmt: skip
_COMBINED = {
    ast.Add: "-", ast.Sub: "+", ast.Mult: "+", ast.Div: "*", ast.FloorDiv: "*", ast.Mod: "//", ast.Pow: "*",
    ast.BitAnd: "|", ast.BitOr: "&", ast.MatMult: "+",
}  # fmt: skip
_COMPILED = {"compiled", "part", "shared", "instruction", "intrinsic", "register_jitable"}  # whose bytecode nobody runs


@dataclass(frozen=True)
class Change:
    """Bytes [begin, end) of a file replaced by `after`.

    Attributes:
        file: below the project's root.
        line: the first that changes. function: that it stands in, by `__qualname__`.
        kind: what was done ("statement left out", ...).
        before, after: text.
    """

    file: str
    line: int
    function: str
    kind: str
    begin: int
    end: int
    before: str
    after: str

    def applied(self, source: bytes) -> bytes:
        """The file's text with the change in it."""
        return source[: self.begin] + self.after.encode() + source[self.end :]


def changes(root: Path, file: str) -> list[Change]:
    """All changes of a source file that leave Python behind which means something else.

    What runs at import, what Numba compiles, messages of errors and annotations are left alone.
    """
    source = (root / file).read_bytes()
    tree = ast.parse(source)
    starts = [0]
    for line in source.splitlines(keepends=True):
        starts.append(starts[-1] + len(line))
    meaning, found = ast.dump(tree), []
    for function, node, kind, (begin_of, end_of), after in _candidates(tree, source, starts):
        change = Change(file, node.lineno, function, kind, begin_of, end_of, source[begin_of:end_of].decode(), after)
        try:
            changed = ast.parse(change.applied(source))
        except SyntaxError:
            continue
        if ast.dump(changed) != meaning:
            found.append(change)
    return found


_Candidate = tuple[str, ast.expr | ast.stmt, str, tuple[int, int], str]


def _candidates(tree: ast.Module, source: bytes, starts: list[int]) -> Iterator[_Candidate]:
    """(function, node, kind, bytes to replace, by what)."""

    def span(node: ast.expr | ast.stmt | ast.keyword) -> tuple[int, int]:
        return starts[node.lineno - 1] + node.col_offset, starts[node.end_lineno - 1] + node.end_col_offset

    def text(node: ast.expr) -> str:
        begin, end = span(node)
        return source[begin:end].decode()

    def of(node: ast.expr | ast.stmt) -> Iterator[tuple[str, tuple[int, int], str]]:
        """What may become of one node."""
        match node:
            case ast.Expr(value=ast.Call(func=ast.Attribute(value=ast.Call(func=ast.Name(id="super"))))):
                return  # a function without its `super()` has another closure, and cannot take the old one's place
            case ast.Expr() | ast.AugAssign() | ast.Delete():
                yield "statement left out", span(node), "pass"
            case ast.Assign(targets=[ast.Attribute() | ast.Subscript()]):
                yield "statement left out", span(node), "pass"
            case ast.Return(value=ast.expr() as value):
                yield "nothing returned", span(value), "None"
            case ast.If() | ast.While() | ast.IfExp():
                yield "condition turned", span(node.test), f"(not ({text(node.test)}))"
            case ast.Compare(left=left, ops=[operator], comparators=[right]):
                yield "comparison changed", span(node), f"({text(left)} {_COMPARED[type(operator)]} {text(right)})"
            case ast.BoolOp(op=operator, values=values):
                word = "or" if isinstance(operator, ast.And) else "and"
                yield "and for or", span(node), "(" + f" {word} ".join(f"({text(value)})" for value in values) + ")"
                same = " and " if word == "or" else " or "
                for left_out in range(len(values)):
                    rest = [f"({text(value)})" for i, value in enumerate(values) if i != left_out]
                    yield "term left out", span(node), "(" + same.join(rest) + ")"
            case ast.BinOp(left=left, op=operator, right=right) if type(operator) in _COMBINED:
                yield "operator changed", span(node), f"({text(left)} {_COMBINED[type(operator)]} {text(right)})"
            case ast.UnaryOp(op=ast.Not() | ast.USub(), operand=operand):
                yield "sign left out", span(node), text(operand)
            case ast.Constant(value=bool() as value):
                yield "constant changed", span(node), repr(not value)
            case ast.Constant(value=int() as value):
                yield "constant changed", span(node), repr(value + 1)
            case ast.Constant(value=float() as value):
                yield "constant changed", span(node), repr(1.5 * value if value else 1.0)
            case ast.Call(func=called, args=arguments, keywords=named):
                if len(arguments) == 2 and not any(isinstance(a, ast.Starred) for a in arguments):
                    name = called.id if isinstance(called, ast.Name) else getattr(called, "attr", "")
                    if name not in ("isinstance", "hasattr", "max", "min", "add", "multiply"):
                        (begin, _), (_, end) = span(arguments[0]), span(arguments[1])
                        yield "arguments exchanged", (begin, end), f"{text(arguments[1])}, {text(arguments[0])}"
                for keyword in named:
                    if keyword.arg is not None:
                        begin, end = span(keyword)
                        rest = source[end:].lstrip()
                        if rest[:1] == b",":
                            end += source[end:].index(b",") + 1
                        yield "argument left out", (begin, end), ""

    def visit(node: ast.AST, inside: str, in_function: bool) -> Iterator[_Candidate]:
        for child in ast.iter_child_nodes(node):
            match child:
                case (
                    ast.Raise()
                    | ast.JoinedStr()
                    | ast.Import()
                    | ast.ImportFrom()
                    | ast.Assert()
                    | ast.Global()
                    | ast.arguments()
                ):
                    continue
                case ast.Expr(value=ast.Constant()):  # a docstring
                    continue
                case ast.ClassDef():
                    yield from visit(child, f"{inside}{child.name}.", False)
                    continue
                case ast.FunctionDef() | ast.AsyncFunctionDef():
                    if not _COMPILED & {_name(decorator) for decorator in child.decorator_list}:
                        for statement in child.body:
                            holder = ast.Module([statement], [])
                            yield from visit(holder, f"{inside}{child.name}.<locals>.", True)
                    continue
            if in_function and isinstance(child, (ast.expr, ast.stmt)):
                function = inside.removesuffix(".<locals>.")
                for kind, where, after in of(child):
                    yield function, child, kind, where, after
            if isinstance(child, ast.AnnAssign):
                if child.value is not None:
                    yield from visit(ast.Expression(child.value), inside, in_function)
                continue
            yield from visit(child, inside, in_function)

    yield from visit(tree, "", False)


def _name(decorator: ast.expr) -> str:
    called = decorator.func if isinstance(decorator, ast.Call) else decorator
    return called.id if isinstance(called, ast.Name) else getattr(called, "attr", "")
