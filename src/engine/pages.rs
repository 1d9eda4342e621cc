//! Tables by descriptor number, in pages, so that one stray large number costs a page and not a
//! table. The numbers of the first page, all that most processes have, are found in one step; those
//! below 2^20, the usual limit of a process, through an array of pages, those above through a map.

use std::collections::HashMap;

/// Numbers that the array of pages covers.
const NEAR_BITS: u32 = 20;

pub(crate) struct Pages<T, const SIZE: usize> {
    first: Box<[T; SIZE]>,
    /// By page; the first one is not in it.
    near: Vec<Option<Box<[T; SIZE]>>>,
    far: HashMap<u32, Box<[T; SIZE]>>,
}

impl<T: Default + Clone, const SIZE: usize> Default for Pages<T, SIZE> {
    fn default() -> Self {
        Pages { first: Self::page(), near: Vec::new(), far: HashMap::new() }
    }
}

impl<T: Default + Clone, const SIZE: usize> Pages<T, SIZE> {
    const BITS: u32 = SIZE.ilog2();

    fn page() -> Box<[T; SIZE]> {
        let made: Result<Box<[T; SIZE]>, _> =
            vec![T::default(); SIZE].into_boxed_slice().try_into();
        let Ok(made) = made else { unreachable!("a vector of SIZE entries") };
        made
    }

    /// The entry of a number, which is not negative, if its page was made.
    #[inline(always)]
    pub(crate) fn get(&mut self, fd: i32) -> Option<&mut T> {
        let page = (fd as u32 >> Self::BITS) as usize;
        if page == 0 || page < self.near.len() {
            return self.get_near(fd);
        }
        Some(&mut self.far_page(fd)?[fd as usize & (SIZE - 1)])
    }

    /// The same of numbers below 2^20 alone; any other one, negative ones too, has none.
    #[inline(always)]
    pub(crate) fn get_near(&mut self, fd: i32) -> Option<&mut T> {
        if (fd as u32 as usize) < SIZE {
            return Some(&mut self.first[fd as usize]);
        }
        let page = self.near.get_mut((fd as u32 >> Self::BITS) as usize)?.as_mut()?;
        Some(&mut page[fd as usize & (SIZE - 1)])
    }

    #[cold]
    #[inline(never)]
    fn far_page(&mut self, fd: i32) -> Option<&mut Box<[T; SIZE]>> {
        self.far.get_mut(&(fd as u32 >> Self::BITS))
    }

    /// The entry of a number, its page made if need be.
    #[inline(always)]
    pub(crate) fn get_or_make(&mut self, fd: i32) -> &mut T {
        if self.get(fd).is_none() {
            self.make(fd);
        }
        self.get(fd).expect("the page was made")
    }

    #[cold]
    #[inline(never)]
    fn make(&mut self, fd: i32) {
        let made = Self::page();
        let page = (fd as u32 >> Self::BITS) as usize;
        if page >> (NEAR_BITS - Self::BITS) != 0 {
            self.far.insert(page as u32, made);
            return;
        }
        if self.near.len() <= page {
            self.near.resize(page + 1, None);
        }
        self.near[page] = Some(made);
    }
}
