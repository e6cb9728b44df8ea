package session

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/rand"
	"encoding/base64"
	"encoding/binary"
)

// ids turns connections into session ids and back. An id is the connection's slot and
// generation, with 64 random bits that all ids of the process share, encrypted as one AES
// block under a random key. It needs no memory per session and no table: decrypting finds the
// slot, the shared bits tell foreign ids, the generation tells ended sessions. Being a
// permutation, it gives each connection of the process an id of its own, and what it says
// of load or descriptors only the key's holder can read.
type ids struct {
	block cipher.Block
	tag   uint64
}

func newIDs() (*ids, error) {
	var seed [24]byte
	_, _ = rand.Read(seed[:]) // never fails, see crypto/rand
	block, err := aes.NewCipher(seed[:16])
	if err != nil {
		return nil, err
	}
	return &ids{block: block, tag: binary.LittleEndian.Uint64(seed[16:])}, nil
}

func (d *ids) encode(c conn) string {
	var b [16]byte
	binary.LittleEndian.PutUint64(b[:8], uint64(c))
	binary.LittleEndian.PutUint64(b[8:], d.tag)
	d.block.Encrypt(b[:], b[:])
	return base64.RawURLEncoding.EncodeToString(b[:])
}

func (d *ids) decode(id string) (conn, bool) {
	var b [18]byte // what base64 may write before it knows the length
	if base64.RawURLEncoding.DecodedLen(len(id)) != 16 {
		return 0, false
	}
	n, err := base64.RawURLEncoding.Strict().Decode(b[:], []byte(id))
	if err != nil || n != 16 {
		return 0, false
	}
	d.block.Decrypt(b[:16], b[:16])
	return conn(binary.LittleEndian.Uint64(b[:8])), binary.LittleEndian.Uint64(b[8:16]) == d.tag
}
