package wsproto

import "bytes"

var crlf = []byte("\r\n")

// Classes of octets.
const (
	tokenOctet  = 1 << iota // tchar, RFC 9110 §5.6.2
	fieldOctet              // may stand in a field value: RFC 9110 §5.5, and HTAB
	targetOctet             // may stand in a request target: visible ASCII but '#'
	hostOctet               // may stand in a registered name or IPv4 address, RFC 3986 §3.2.2
	base64Octet             // RFC 4648 §4, without the padding
)

var octets = func() (t [256]uint8) {
	set := func(chars string, class uint8) {
		for i := range len(chars) {
			t[chars[i]] |= class
		}
	}
	const (
		digits = "0123456789"
		lower  = "abcdefghijklmnopqrstuvwxyz"
		upper  = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
	)
	set(digits+lower+upper, tokenOctet|hostOctet|base64Octet)
	set("!#$%&'*+-.^_`|~", tokenOctet)
	set("-._~!$&'()*+,;=%", hostOctet)
	set("+/", base64Octet)
	for c := 0x20; c < 0x100; c++ {
		if c != 0x7F {
			t[c] |= fieldOctet
		}
		if 0x20 < c && c < 0x7F && c != '#' {
			t[c] |= targetOctet
		}
	}
	t['\t'] |= fieldOctet
	return t
}()

// all reports whether every octet of p is of the class.
func all(p []byte, class uint8) bool {
	for _, c := range p {
		if octets[c]&class == 0 {
			return false
		}
	}
	return true
}

func isToken(p []byte) bool { return len(p) > 0 && all(p, tokenOctet) }

// ValidToken reports whether s is a token (RFC 9110 §5.6.2), as the name of a subprotocol must be
// (RFC 6455 §4.1).
func ValidToken(s string) bool { return isToken([]byte(s)) }

// leading counts the spaces and tabs in front.
func leading(p []byte) int {
	n := 0
	for n < len(p) && (p[n] == ' ' || p[n] == '\t') {
		n++
	}
	return n
}

// trim cuts spaces and tabs at both ends.
func trim(p []byte) []byte {
	p = p[leading(p):]
	for len(p) > 0 && (p[len(p)-1] == ' ' || p[len(p)-1] == '\t') {
		p = p[:len(p)-1]
	}
	return p
}

// equalFold compares as ASCII without case.
func equalFold(p []byte, s string) bool {
	if len(p) != len(s) {
		return false
	}
	for i, c := range p {
		if lowerASCII(c) != lowerASCII(s[i]) {
			return false
		}
	}
	return true
}

func lowerASCII(c byte) byte {
	if 'A' <= c && c <= 'Z' {
		c += 'a' - 'A'
	}
	return c
}

// nextElement cuts the first element off a comma-separated list without quoted
// strings. Empty elements are to be ignored (RFC 9110 §5.6.1).
func nextElement(list []byte) (element, rest []byte) {
	element, rest, _ = bytes.Cut(list, []byte{','})
	return trim(element), rest
}

// validHost checks uri-host [ ":" port ] (RFC 9110 §7.2, RFC 3986 §3.2.2). An
// empty host is refused: no WebSocket URI has one (RFC 6455 §3).
func validHost(p []byte) bool {
	if len(p) > 0 && p[0] == '[' {
		end := bytes.IndexByte(p, ']')
		if end < 3 {
			return false
		}
		for _, c := range p[1:end] {
			if !isHex(c) && c != ':' && c != '.' {
				return false
			}
		}
		return validPort(p[end+1:])
	}
	i := 0
	for ; i < len(p) && octets[p[i]]&hostOctet != 0; i++ {
		if p[i] == '%' && (len(p)-i < 3 || !isHex(p[i+1]) || !isHex(p[i+2])) {
			return false
		}
	}
	return i > 0 && validPort(p[i:])
}

// validPort checks [ ":" *DIGIT ].
func validPort(p []byte) bool {
	if len(p) == 0 {
		return true
	}
	if p[0] != ':' {
		return false
	}
	for _, c := range p[1:] {
		if c < '0' || c > '9' {
			return false
		}
	}
	return true
}

func isHex(c byte) bool {
	return '0' <= c && c <= '9' || 'a' <= lowerASCII(c) && lowerASCII(c) <= 'f'
}

// validKey checks the base64 form of 16 bytes (RFC 6455 §4.2.1), which has
// exactly one spelling: the last character before the padding carries two bits,
// the other four of it are zero.
func validKey(p []byte) bool {
	if len(p) != 24 || !all(p[:22], base64Octet) || p[22] != '=' || p[23] != '=' {
		return false
	}
	switch p[21] {
	case 'A', 'Q', 'g', 'w':
		return true
	}
	return false
}

// validExtensions checks one line of an extension list (RFC 6455 §9.1) and
// returns how many extensions it names. A quoted parameter value must be a token
// once its escapes are resolved.
func validExtensions(p []byte) (n int, ok bool) {
	for {
		p = trim(p)
		switch {
		case len(p) == 0:
			return n, true
		case p[0] == ',':
			p = p[1:]
			continue
		}
		if p, ok = cutExtension(p); !ok {
			return n, false
		}
		n++
		if p = trim(p); len(p) > 0 && p[0] != ',' {
			return n, false
		}
	}
}

// cutExtension cuts extension-token *( ";" extension-param ) off p.
func cutExtension(p []byte) (rest []byte, ok bool) {
	if p, ok = cutToken(p); !ok {
		return p, false
	}
	for {
		rest = trim(p)
		if len(rest) == 0 || rest[0] != ';' {
			return rest, true
		}
		if p, ok = cutToken(trim(rest[1:])); !ok {
			return p, false
		}
		if rest = trim(p); len(rest) == 0 || rest[0] != '=' {
			continue
		}
		p = trim(rest[1:])
		if len(p) > 0 && p[0] == '"' {
			p, ok = cutQuotedToken(p[1:])
		} else {
			p, ok = cutToken(p)
		}
		if !ok {
			return p, false
		}
	}
}

// nextExtension returns the next element of an extension list that validExtensions has accepted,
// empty at its end, and what is behind it.
func nextExtension(p []byte) (e, rest []byte) {
	for p = trim(p); len(p) > 0 && p[0] == ','; p = trim(p[1:]) {
	}
	rest, _ = cutExtension(p)
	return p[:len(p)-len(rest)], rest
}

// cutName splits an element of an extension list into its name and its parameters.
func cutName(e []byte) (name, params []byte) {
	rest, _ := cutToken(e)
	return e[:len(e)-len(rest)], trim(rest)
}

// nextParam takes the first parameter, ";" token [ "=" value ], from the front of params. A value
// is nil if there is none; one that was quoted is resolved into scratch.
func nextParam(params, scratch []byte) (name, value, rest []byte) {
	p := trim(params[1:])
	rest, _ = cutToken(p)
	name, rest = p[:len(p)-len(rest)], trim(rest)
	if len(rest) == 0 || rest[0] != '=' {
		return name, nil, rest
	}
	p = trim(rest[1:])
	if p[0] != '"' {
		rest, _ = cutToken(p)
		return name, p[:len(p)-len(rest)], trim(rest)
	}
	rest, _ = cutQuotedToken(p[1:])
	quoted := p[1 : len(p)-len(rest)-1]
	for i := 0; i < len(quoted); i++ {
		if quoted[i] == '\\' {
			i++
		}
		scratch = append(scratch, quoted[i])
	}
	return name, scratch, trim(rest)
}

func cutToken(p []byte) (rest []byte, ok bool) {
	n := 0
	for n < len(p) && octets[p[n]]&tokenOctet != 0 {
		n++
	}
	return p[n:], n > 0
}

// cutQuotedToken cuts the rest of a quoted string off p, behind its first quote.
func cutQuotedToken(p []byte) (rest []byte, ok bool) {
	size := 0
	for i := 0; i < len(p); i++ {
		switch {
		case p[i] == '"':
			return p[i+1:], size > 0
		case p[i] == '\\':
			if i++; i == len(p) {
				return nil, false
			}
		}
		if octets[p[i]]&tokenOctet == 0 {
			return nil, false
		}
		size++
	}
	return nil, false
}
