package inflate

// endOfBlock is the symbol that ends a block with Huffman codes.
const endOfBlock = 256

// The values behind the symbols of lengths and distances (RFC 1951 §3.2.5).
var (
	lengthBase    = [...]int{3, 4, 5, 6, 7, 8, 9, 10, 11, 13, 15, 17, 19, 23, 27, 31, 35, 43, 51, 59, 67, 83, 99, 115, 131, 163, 195, 227, 258}
	lengthExtra   = [...]int{0, 0, 0, 0, 0, 0, 0, 0, 1, 1, 1, 1, 2, 2, 2, 2, 3, 3, 3, 3, 4, 4, 4, 4, 5, 5, 5, 5, 0}
	distanceBase  = [...]int{1, 2, 3, 4, 5, 7, 9, 13, 17, 25, 33, 49, 65, 97, 129, 193, 257, 385, 513, 769, 1025, 1537, 2049, 3073, 4097, 6145, 8193, 12289, 16385, 24577}
	distanceExtra = [...]int{0, 0, 0, 0, 1, 1, 2, 2, 3, 3, 4, 4, 5, 5, 6, 6, 7, 7, 8, 8, 9, 9, 10, 10, 11, 11, 12, 12, 13, 13}
	lengthOrder   = [...]int{16, 17, 18, 0, 8, 7, 9, 6, 10, 5, 11, 4, 12, 3, 13, 2, 14, 1, 15} // §3.2.7
)

// maxCode is the length of the longest Huffman code in bits.
const maxCode = 15

// code is a canonical Huffman code (§3.2.2): the symbols in the order of their codes, and how many
// codes there are of each length.
type code struct {
	count   [maxCode + 1]int
	symbols []int
}

// newCode makes the code whose symbols have these lengths, 0 for a symbol that is not used.
func newCode(lengths []int) *code {
	c := &code{}
	for n := 1; n <= maxCode; n++ {
		for symbol, length := range lengths {
			if length == n {
				c.count[n]++
				c.symbols = append(c.symbols, symbol)
			}
		}
	}
	return c
}

// The codes of blocks of type 1 (§3.2.6).
var (
	fixedLiterals = func() *code {
		lengths := make([]int, 288)
		for i := range lengths {
			switch {
			case i < 144 || i >= 280:
				lengths[i] = 8
			case i < 256:
				lengths[i] = 9
			default:
				lengths[i] = 7
			}
		}
		return newCode(lengths)
	}()
	fixedDistances = func() *code {
		lengths := make([]int, 30)
		for i := range lengths {
			lengths[i] = 5
		}
		return newCode(lengths)
	}()
)

// symbol takes one symbol. The codes of each length are consecutive numbers, so that it is enough
// to know the first of them.
func (s *stream) symbol(c *code) int {
	value, first, index := 0, 0, 0
	for n := 1; n <= maxCode; n++ {
		value |= s.bits(1)
		if s.err != nil {
			return 0
		}
		if value-first < c.count[n] {
			return c.symbols[index+value-first]
		}
		index += c.count[n]
		first = (first + c.count[n]) << 1
		value <<= 1
	}
	s.err = ErrCorrupt
	return 0
}

// codes takes the codes at the beginning of a block of type 2 (§3.2.7).
func (s *stream) codes() (literals, distances *code, err error) {
	numLiterals, numDistances, numLengths := s.bits(5)+257, s.bits(5)+1, s.bits(4)+4
	meta := make([]int, len(lengthOrder))
	for _, symbol := range lengthOrder[:numLengths] {
		meta[symbol] = s.bits(3)
	}
	lengths, err := s.lengths(newCode(meta), numLiterals+numDistances)
	if err != nil {
		return nil, nil, err
	}
	return newCode(lengths[:numLiterals]), newCode(lengths[numLiterals:]), nil
}

// lengths takes n lengths of codes, which are themselves coded.
func (s *stream) lengths(c *code, n int) (all []int, err error) {
	for len(all) < n {
		symbol := s.symbol(c)
		value, times := symbol, 1
		switch {
		case s.err != nil:
			return nil, s.err
		case symbol == 16 && len(all) == 0:
			return nil, ErrCorrupt
		case symbol == 16:
			value, times = all[len(all)-1], 3+s.bits(2)
		case symbol == 17:
			value, times = 0, 3+s.bits(3)
		case symbol == 18:
			value, times = 0, 11+s.bits(7)
		}
		if len(all)+times > n {
			return nil, ErrCorrupt
		}
		for range times {
			all = append(all, value)
		}
	}
	return all, s.err
}
