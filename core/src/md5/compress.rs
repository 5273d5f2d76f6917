//! The compression function (RFC 1321), for as many streams as a word has.

use super::word::Words;

/// `floor(2^32 * |sin(i + 1)|)`.
#[rustfmt::skip]
const K: [u32; 64] = [
    0xd76aa478, 0xe8c7b756, 0x242070db, 0xc1bdceee, 0xf57c0faf, 0x4787c62a, 0xa8304613, 0xfd469501,
    0x698098d8, 0x8b44f7af, 0xffff5bb1, 0x895cd7be, 0x6b901122, 0xfd987193, 0xa679438e, 0x49b40821,
    0xf61e2562, 0xc040b340, 0x265e5a51, 0xe9b6c7aa, 0xd62f105d, 0x02441453, 0xd8a1e681, 0xe7d3fbc8,
    0x21e1cde6, 0xc33707d6, 0xf4d50d87, 0x455a14ed, 0xa9e3e905, 0xfcefa3f8, 0x676f02d9, 0x8d2a4c8a,
    0xfffa3942, 0x8771f681, 0x6d9d6122, 0xfde5380c, 0xa4beea44, 0x4bdecfa9, 0xf6bb4b60, 0xbebfbc70,
    0x289b7ec6, 0xeaa127fa, 0xd4ef3085, 0x04881d05, 0xd9d4d039, 0xe6db99e5, 0x1fa27cf8, 0xc4ac5665,
    0xf4292244, 0x432aff97, 0xab9423a7, 0xfc93a039, 0x655b59c3, 0x8f0ccc92, 0xffeff47d, 0x85845dd1,
    0x6fa87e4f, 0xfe2ce6e0, 0xa3014314, 0x4e0811a1, 0xf7537e82, 0xbd3af235, 0x2ad7d2bb, 0xeb86d391,
];

/// A state: the words a, b, c, d.
pub(super) type State<W> = [W; 4];

// The four functions, each added to `sum`; `b` comes last and is waited for as little as can be.

#[inline(always)]
fn f<W: Words>(sum: W, b: W, c: W, d: W) -> W {
    sum.add(d ^ (b & (c ^ d)))
}

/// The two terms share no bits: their sum is as good as their union.
#[inline(always)]
fn g<W: Words>(sum: W, b: W, c: W, d: W) -> W {
    sum.add(c & (d ^ W::splat(!0))).add(b & d)
}

#[inline(always)]
fn h<W: Words>(sum: W, b: W, c: W, d: W) -> W {
    sum.add(b ^ (c ^ d))
}

#[inline(always)]
fn i<W: Words>(sum: W, b: W, c: W, d: W) -> W {
    sum.add(c ^ (b | (d ^ W::splat(!0))))
}

/// Mixes a block of each stream into its state.
#[inline(always)]
pub(super) fn compress<W: Words>(state: &mut State<W>, block: &[W; 16]) {
    let [mut a, mut b, mut c, mut d] = *state;
    macro_rules! step {
        ($f:ident, $a:ident, $b:ident, $c:ident, $d:ident, $word:expr, $step:expr, $by:literal) => {
            let sum = $a.add(block[$word & 15].add(W::splat(K[$step])));
            $a = $f(sum, $b, $c, $d).rotate_left($by).add($b);
        };
    }
    // The steps from `$step` on; step number i takes word `$mul` * i + `$add`.
    macro_rules! four {
        ($f:ident, $step:expr, $mul:literal, $add:literal,
            [$s0:literal, $s1:literal, $s2:literal, $s3:literal]) => {
            step!($f, a, b, c, d, $mul * $step + $add, $step, $s0);
            step!($f, d, a, b, c, $mul * ($step + 1) + $add, $step + 1, $s1);
            step!($f, c, d, a, b, $mul * ($step + 2) + $add, $step + 2, $s2);
            step!($f, b, c, d, a, $mul * ($step + 3) + $add, $step + 3, $s3);
        };
    }
    macro_rules! round {
        ($f:ident, $first:literal, $mul:literal, $add:literal, $s:tt) => {
            four!($f, $first, $mul, $add, $s);
            four!($f, $first + 4, $mul, $add, $s);
            four!($f, $first + 8, $mul, $add, $s);
            four!($f, $first + 12, $mul, $add, $s);
        };
    }
    round!(f, 0, 1, 0, [7, 12, 17, 22]);
    round!(g, 16, 5, 1, [5, 9, 14, 20]);
    round!(h, 32, 3, 5, [4, 11, 16, 23]);
    round!(i, 48, 7, 0, [6, 10, 15, 21]);
    *state = [state[0].add(a), state[1].add(b), state[2].add(c), state[3].add(d)];
}
