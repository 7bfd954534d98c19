//! The random numbers of the published experiments: the Mersenne Twister and the Gamma draws made from it.
//!
//! The experiments were run in Python on numpy's seeded global generator. Drawing the very same arrivals removes chance
//! from the comparison with the published results: what is left is the profile and the rules. Everything else in statmux
//! draws from ChaCha.

const WORDS: usize = 624;
const MIDDLE: usize = 397;

/// MT19937 (Matsumoto and Nishimura, 1998), seeded by one number.
#[derive(Clone, Debug)]
pub struct Twister {
    state: [u32; WORDS],
    next: usize,
    /// Gaussian draws come in pairs: the second of the last pair.
    spare: Option<f64>,
}

impl Twister {
    /// The generator with this seed.
    pub fn new(seed: u32) -> Self {
        let mut state = [seed; WORDS];
        for index in 1..WORDS {
            let last = state[index - 1];
            state[index] = 1_812_433_253_u32.wrapping_mul(last ^ (last >> 30)).wrapping_add(index as u32);
        }
        Self { state, next: WORDS, spare: None }
    }

    fn word(&mut self) -> u32 {
        if self.next == WORDS {
            self.twist();
        }
        let mut word = self.state[self.next];
        self.next += 1;
        word ^= word >> 11;
        word ^= (word << 7) & 0x9d2c_5680;
        word ^= (word << 15) & 0xefc6_0000;
        word ^ (word >> 18)
    }

    fn twist(&mut self) {
        for index in 0..WORDS {
            let joined = (self.state[index] & 0x8000_0000) | (self.state[(index + 1) % WORDS] & 0x7fff_ffff);
            let odd = if joined & 1 == 1 { 0x9908_b0df } else { 0 };
            self.state[index] = self.state[(index + MIDDLE) % WORDS] ^ (joined >> 1) ^ odd;
        }
        self.next = 0;
    }

    /// Uniform from 0 to 1, with 53 random bits.
    pub fn uniform(&mut self) -> f64 {
        let high = f64::from(self.word() >> 5);
        let low = f64::from(self.word() >> 6);
        (high * 67_108_864.0 + low) / 9_007_199_254_740_992.0
    }

    fn exponential(&mut self) -> f64 {
        -(1.0 - self.uniform()).ln()
    }

    /// Marsaglia's polar method.
    fn gaussian(&mut self) -> f64 {
        if let Some(spare) = self.spare.take() {
            return spare;
        }
        loop {
            let (x, y) = (2.0 * self.uniform() - 1.0, 2.0 * self.uniform() - 1.0);
            let square = x * x + y * y;
            if square < 1.0 && square != 0.0 {
                let factor = (-2.0 * square.ln() / square).sqrt();
                self.spare = Some(factor * x);
                return factor * y;
            }
        }
    }

    /// Gamma with scale 1: Best's rejection for shapes below 1, Marsaglia and Tsang's for those above.
    pub fn gamma(&mut self, shape: f64) -> f64 {
        if shape == 1.0 {
            self.exponential()
        } else if shape < 1.0 {
            self.flat_gamma(shape)
        } else {
            self.steep_gamma(shape)
        }
    }

    fn flat_gamma(&mut self, shape: f64) -> f64 {
        loop {
            let (uniform, exponential) = (self.uniform(), self.exponential());
            if uniform <= 1.0 - shape {
                let drawn = uniform.powf(1.0 / shape);
                if drawn <= exponential {
                    return drawn;
                }
            } else {
                let tail = -((1.0 - uniform) / shape).ln();
                let drawn = (1.0 - shape + shape * tail).powf(1.0 / shape);
                if drawn <= exponential + tail {
                    return drawn;
                }
            }
        }
    }

    fn steep_gamma(&mut self, shape: f64) -> f64 {
        let b = shape - 1.0 / 3.0;
        let c = 1.0 / (9.0 * b).sqrt();
        loop {
            let (x, cube) = loop {
                let x = self.gaussian();
                let v = 1.0 + c * x;
                if v > 0.0 {
                    break (x, v * v * v);
                }
            };
            let uniform = self.uniform();
            let sure = uniform < 1.0 - 0.0331 * (x * x) * (x * x);
            if sure || uniform.ln() < 0.5 * x * x + b * (1.0 - cube + cube.ln()) {
                return b * cube;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Compares with numbers that numpy 2.4 drew.
    fn check(seed: u32, draw: impl Fn(&mut Twister) -> f64, expected: &[f64]) {
        let mut twister = Twister::new(seed);
        for &expected in expected {
            let drawn = draw(&mut twister);
            // Tiny draws are high powers of uniform ones, in which the last bits of different mathematical libraries add up.
            assert!((drawn - expected).abs() <= 1e-12 * expected, "{drawn:?} instead of {expected:?}");
        }
    }

    #[test]
    fn numpy_draws_the_same() {
        check(7, Twister::uniform, &[0.076_308_289_373_957_17, 0.779_918_792_240_114_4, 0.438_409_231_440_893_5]);
        let gamma = |shape: f64| move |twister: &mut Twister| 2.0 * twister.gamma(shape);
        check(3, gamma(0.0625), &[1.435_180_221_164_071_5e-4, 5.260_690_269_300_849e-9, 0.326_768_783_141_513_5]);
        check(3, gamma(0.25), &[0.184_076_821_596_820_2, 0.014_322_973_221_443_066, 1.713_136_168_249_252_5]);
        check(3, gamma(1.0), &[1.600_564_773_764_959_5, 2.463_015_693_480_69, 0.687_530_803_382_390_6]);
        check(3, gamma(4.0), &[16.537_409_237_558_91, 9.135_283_477_466_93, 6.321_487_891_630_392]);
    }
}
