package state

import (
	"encoding/binary"
	"fmt"
	"reflect"
)

// maxUnpackedAhead is up to how many elements memory is taken for before they are read.
const maxUnpackedAhead = 64

// packReader reads what was packed. After an error it reads nothing more.
type packReader struct {
	data []byte
	all  string // the same bytes: every string is a part of it
	at   int
	err  error
}

// read reads v, which must be settable and zero, from the whole of data.
func (how packing) read(data []byte, v reflect.Value) error {
	u := packReader{data: data, all: string(data)}
	how.unpack(&u, v)
	if u.err == nil && u.at < len(data) {
		u.fail("there is more behind it")
	}
	return u.err
}

func (u *packReader) fail(format string, args ...any) {
	if u.err == nil {
		u.err = fmt.Errorf("byte %d: %s", u.at, fmt.Sprintf(format, args...))
	}
}

func (u *packReader) number() uint64 {
	if u.err != nil {
		return 0
	}
	n, size := binary.Uvarint(u.data[u.at:])
	if size <= 0 {
		u.fail("a number is cut off or too large")
		return 0
	}
	u.at += size
	return n
}

// length reads how many bytes or elements follow, of which each has a byte or more.
func (u *packReader) length() int {
	n := u.number()
	if left := len(u.data) - u.at; n > uint64(left) {
		u.fail("%d follow in %d bytes", n, left)
		return 0
	}
	return int(n)
}

func (u *packReader) text() string {
	n := u.length()
	s := u.all[u.at : u.at+n]
	u.at += n
	return s
}

func unpackBool(u *packReader, v reflect.Value) {
	n := u.number()
	if n > 1 {
		u.fail("%d is neither true nor false", n)
	}
	v.SetBool(n == 1)
}

func unpackInt(u *packReader, v reflect.Value) {
	n := u.number()
	v.SetInt(int64(n>>1) ^ -int64(n&1)) // as binary.Varint does
}

func unpackUint(u *packReader, v reflect.Value)   { v.SetUint(u.number()) }
func unpackString(u *packReader, v reflect.Value) { v.SetString(u.text()) }

func unpackAny(u *packReader, v reflect.Value) {
	if text := u.text(); u.err == nil {
		if err := strict([]byte(text), v.Addr().Interface()); err != nil {
			u.fail("%s", err)
		}
	}
}
