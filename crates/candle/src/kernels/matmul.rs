//! The matrix product on one thread.

use gemm::Parallelism;

/// A strided view of a matrix.
#[derive(Clone, Copy)]
pub(crate) struct Matrix<'a> {
    data: &'a [f32],
    rows: usize,
    columns: usize,
    row_stride: usize,
    column_stride: usize,
}

impl<'a> Matrix<'a> {
    /// `rows` rows of `columns` values, `row_stride` apart.
    ///
    /// # Panics
    /// If `data` is too short for that.
    pub(crate) fn new(data: &'a [f32], rows: usize, columns: usize, row_stride: usize) -> Self {
        assert!(reaches(rows, columns, row_stride) <= data.len(), "a matrix reaches beyond its memory");
        Self { data, rows, columns, row_stride, column_stride: 1 }
    }

    /// The same memory, rows as columns.
    pub(crate) fn transposed(self) -> Self {
        Self {
            rows: self.columns,
            columns: self.rows,
            row_stride: self.column_stride,
            column_stride: self.row_stride,
            ..self
        }
    }
}

/// Lets matrix products read weights where they lie instead of copying them together first.
///
/// Our weights lie in panels, in which nothing is far apart. (The product is computed transposed, so weights are its
/// left side; the number is the count of right columns, in tiles, up to which the left side is not copied.)
pub(crate) fn read_weights_in_place() {
    gemm::set_lhs_packing_threshold_single_thread(1 << 24);
}

/// Writes `scale * a * b` to the rows of `out`, which lie `out_stride` apart.
///
/// # Panics
/// If the shapes do not fit each other or `out`.
pub(crate) fn multiply(out: &mut [f32], out_stride: usize, a: Matrix<'_>, b: Matrix<'_>, scale: f32) {
    assert_eq!(a.columns, b.rows, "the inner sizes of a matrix product differ");
    assert!(reaches(a.rows, b.columns, out_stride) <= out.len(), "a matrix product reaches beyond its output");
    let stride = |stride: usize| isize::try_from(stride).expect("a slice is shorter than isize::MAX");
    // SAFETY: the three matrices lie inside their slices (asserted above and in `Matrix::new`), `out` is borrowed
    // mutably and so overlaps neither input, and with `read_dst` false its old values are not read.
    unsafe {
        gemm::gemm(
            a.rows,
            b.columns,
            a.columns,
            out.as_mut_ptr(),
            1,
            stride(out_stride),
            false,
            a.data.as_ptr(),
            stride(a.column_stride),
            stride(a.row_stride),
            b.data.as_ptr(),
            stride(b.column_stride),
            stride(b.row_stride),
            0.0,
            scale,
            false,
            false,
            false,
            Parallelism::None,
        );
    }
}

/// One past the last index that a matrix touches.
fn reaches(rows: usize, columns: usize, row_stride: usize) -> usize {
    if rows == 0 || columns == 0 { 0 } else { (rows - 1) * row_stride + columns }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn products_of_strided_matrices() {
        // [1 2; 3 4] in rows of 3, times the transpose of [1 0; 1 1].
        let a = [1.0, 2.0, 9.0, 3.0, 4.0, 9.0];
        let b = [1.0, 0.0, 1.0, 1.0];
        let mut out = [7.0; 6];
        multiply(&mut out, 3, Matrix::new(&a, 2, 2, 3), Matrix::new(&b, 2, 2, 2).transposed(), 2.0);
        assert_eq!(out, [2.0, 6.0, 7.0, 6.0, 14.0, 7.0]);
    }

    #[test]
    #[should_panic(expected = "beyond its memory")]
    fn a_matrix_must_fit_its_memory() {
        Matrix::new(&[0.0; 5], 2, 3, 3);
    }
}
