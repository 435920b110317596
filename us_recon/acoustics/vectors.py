"""Eight numbers at once: what the compiler does not find by itself in the look-up of eight fields.

The fields of a voxel lie side by side, so that the corners of a cell are eight loads, each of one
vector, and an interpolation along three axes is seven steps for all fields together.
"""

from typing import Any

from llvmlite import ir  # type: ignore[import-untyped]
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

WIDTH = 8
"""Fields of a voxel, padding included."""

_intrinsic: Any = intrinsic
_types: Any = types
_utils: Any = cgutils
_LOOSE = ("contract", "reassoc", "nsz")  # sums of products may be fused and reordered


@_intrinsic  # type: ignore[untyped-decorator]
def mix(
    _: Any, voxels: Any, first: Any, step_i: Any, step_j: Any, s: Any, t: Any, u: Any, fading: Any,
    line: Any, place: Any,
) -> Any:  # fmt: skip
    """Store the fields at one place, all but the first faded, at `line[place:]`.

    Args:
        voxels: Fields of all voxels, (i, j, k, 8), contiguous.
        first: Where those of the cell's lowest corner begin.
        step_i: Numbers from there to the next corner along i; along k it is 8.
        step_j: The same along j.
        s: Share of the upper corner along i.
        t: The same along j.
        u: The same along k.
        fading: Factor on all fields but the first.
        line: Any contiguous array.
        place: Where in it the result goes.
    """

    def build(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        at = _Cell(context, builder, signature, values)
        _, _, _, value = at.interpolated()
        builder.store(at.faded(value, at.number(1.0)), at.vector(8, values[9]), align=at.align)
        return context.get_dummy_value()

    arguments = (voxels, first, step_i, step_j, s, t, u, fading, line, place)
    return _types.none(*arguments), build


@_intrinsic  # type: ignore[untyped-decorator]
def slopes(
    _: Any, voxels: Any, first: Any, step_i: Any, step_j: Any, s: Any, t: Any, u: Any, fading: Any,
    pull: Any, place: Any,
) -> Any:  # fmt: skip
    """Return the gradients by the fading and by s, t, u, given those by the fields.

    Arguments are those of `mix`, with `pull[place:]` the gradients by the fields.
    """

    def build(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        at = _Cell(context, builder, signature, values)
        by_s, by_t, by_u, value = at.interpolated()
        pulls = builder.load(at.vector(8, values[9]), align=at.align)
        through = at.faded(pulls, at.number(1.0))
        others = builder.insert_element(pulls, at.number(0.0), _utils.int32_t(0))
        sums = [at.dot(others, value), *(at.dot(through, each) for each in (by_s, by_t, by_u))]
        return context.make_tuple(builder, signature.return_type, sums)

    arguments = (voxels, first, step_i, step_j, s, t, u, fading, pull, place)
    return _types.UniTuple(voxels.dtype, 4)(*arguments), build


class _Cell:
    """Builds the code of one cell's interpolation."""

    def __init__(self, context: Any, builder: Any, signature: Any, values: Any) -> None:
        self.context, self.builder = context, builder
        self.signature, self.values = signature, values
        self.scalar = context.get_value_type(signature.args[0].dtype)
        self.kind = ir.VectorType(self.scalar, WIDTH)
        self.align = context.get_abi_sizeof(self.scalar)

    def number(self, value: float) -> Any:
        return ir.Constant(self.scalar, value)

    def vector(self, argument: int, place: Any) -> Any:
        """Return a pointer to eight numbers of an array."""
        make = self.context.make_array(self.signature.args[argument])
        data = make(self.context, self.builder, self.values[argument]).data
        return self.builder.bitcast(self.builder.gep(data, [place]), self.kind.as_pointer())

    def spread(self, scalar: Any) -> Any:
        """Return a vector of one number."""
        one = self.builder.insert_element(
            ir.Constant(self.kind, ir.Undefined), scalar, _utils.int32_t(0)
        )
        mask = ir.Constant(ir.VectorType(ir.IntType(32), WIDTH), [0] * WIDTH)
        return self.builder.shuffle_vector(one, ir.Constant(self.kind, ir.Undefined), mask)

    def faded(self, vector: Any, first: Any) -> Any:
        """Return a vector times the fading, its first number times `first`."""
        factor = self.builder.insert_element(self.spread(self.values[7]), first, _utils.int32_t(0))
        return self.builder.fmul(vector, factor)

    def interpolated(self) -> tuple[Any, Any, Any, Any]:
        """Return the slopes along i, j and k, and the value."""
        builder, (_, first, step_i, step_j) = self.builder, self.values[:4]
        s, t, u = (self.spread(each) for each in self.values[4:7])
        beside, corners = ir.Constant(first.type, WIDTH), []
        for start in (first, builder.add(first, step_i)):
            for row in (start, builder.add(start, step_j)):
                pair = (row, builder.add(row, beside))
                corners.append(
                    [builder.load(self.vector(0, each), align=self.align) for each in pair]
                )
        rises = [builder.fsub(high, low) for low, high in corners]
        edges = [self.moved(low, rise, u) for (low, _), rise in zip(corners, rises, strict=True)]
        near, far = builder.fsub(edges[1], edges[0]), builder.fsub(edges[3], edges[2])
        before, behind = self.moved(edges[0], near, t), self.moved(edges[2], far, t)
        by_s = builder.fsub(behind, before)
        by_t = self.moved(near, builder.fsub(far, near), s)
        left = self.moved(rises[0], builder.fsub(rises[1], rises[0]), t)
        right = self.moved(rises[2], builder.fsub(rises[3], rises[2]), t)
        by_u = self.moved(left, builder.fsub(right, left), s)
        return by_s, by_t, by_u, self.moved(before, by_s, s)

    def moved(self, start: Any, rise: Any, share: Any) -> Any:
        product = self.builder.fmul(rise, share, flags=_LOOSE)
        return self.builder.fadd(start, product, flags=_LOOSE)

    def dot(self, a: Any, b: Any) -> Any:
        kind = ir.FunctionType(self.scalar, [self.scalar, self.kind])
        bits = 8 * self.align
        reduce = _utils.get_or_insert_function(
            self.builder.module, kind, f"llvm.vector.reduce.fadd.v{WIDTH}f{bits}"
        )
        product = self.builder.fmul(a, b, flags=_LOOSE)
        return self.builder.call(reduce, [self.number(0.0), product], fastmath=_LOOSE)
