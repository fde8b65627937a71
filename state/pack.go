package state

import (
	"encoding/binary"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"sync"
	"unicode/utf8"

	"github.com/cespare/xxhash/v2"
)

// Packed is the short form of commands that come by the thousand a second. Every server reads each of them from the log, and packed they
// have a fifth of the bytes of their JSON and take a third of the time.
//
// A struct is its fields that say something, each as its number and its value, and a 0. Numbers count from 1 in the order of the
// declaration, so a new field goes to the end: TestPackedFieldsStay knows the order. What a field says nothing with is left out as
// encoding/json leaves it out, and the zero value of the others. Numbers are varints, strings and lists have their length in front, maps
// are sorted by their keys, and what may be anything is JSON.

// packedMark is the first byte of a packed RegisterJob, the only command that is packed. No JSON begins with it.
const packedMark = 0x01

// maxPacked bounds what is packed. Larger registrations stay JSON, of which there may be no more than MaxCommandBytes: what is packed well could
// be too large for a record of a snapshot.
const maxPacked = MaxCommandBytes / 32

func isPacked(data []byte) bool { return len(data) > 0 && data[0] == packedMark }

// encodePacked is Encode in the short form.
func encodePacked(c RegisterJob) ([]byte, error) {
	if err := c.validate(); err != nil {
		return nil, err
	}
	p := packWriter{out: append(make([]byte, 0, packedAhead), packedMark)}
	registrationPacking().pack(&p, reflect.ValueOf(&c).Elem())
	if p.err != nil || len(p.out) > maxPacked {
		return Encode(c)
	}
	return p.out, nil
}

// decodePacked reads what encodePacked wrote.
func decodePacked(data []byte) (Command, error) {
	if len(data) > maxPacked {
		return nil, fmt.Errorf("packed command of %d bytes, at most %d: %w", len(data), maxPacked, ErrLimit)
	}
	var c RegisterJob
	if err := registrationPacking().read(data[1:], reflect.ValueOf(&c).Elem()); err != nil {
		return nil, fmt.Errorf("read packed command %s: %w: %w", c.kind(), err, ErrInvalid)
	}
	return c, nil
}

// hash hashes every field of the row. It serves to find servers that diverged, not to resist an attacker.
func (j *Job) hash() uint64 {
	p := packWriter{out: make([]byte, 0, packedAhead)}
	jobPacking().pack(&p, reflect.ValueOf(j).Elem())
	return xxhash.Sum64(p.out)
}

// packedAhead is how much memory is taken for what is to be packed: most jobs fit.
const packedAhead = 512

// packing is how the values of a type are packed and unpacked.
type packing struct {
	pack   func(p *packWriter, v reflect.Value)
	unpack func(u *packReader, v reflect.Value)
}

// packWriter takes what is packed.
type packWriter struct {
	out []byte
	err error
}

func (p *packWriter) number(n uint64) { p.out = binary.AppendUvarint(p.out, n) }

func (p *packWriter) text(s string) {
	if !utf8.ValidString(s) {
		p.err = fmt.Errorf("it holds text that is not UTF-8: %w", ErrInvalid) // JSON would change it
	}
	p.number(uint64(len(s)))
	p.out = append(p.out, s...)
}

// The types that are packed.
var (
	registrationPacking = sync.OnceValue(func() packing { return packingOf(reflect.TypeFor[RegisterJob]()) })
	jobPacking          = sync.OnceValue(func() packing { return packingOf(reflect.TypeFor[Job]()) })
)

// packingOf is the packing of a type. It panics on types that no command has.
func packingOf(t reflect.Type) packing {
	switch t.Kind() {
	case reflect.Bool:
		return packing{packBool, unpackBool}
	case reflect.Int, reflect.Int64:
		return packing{packInt, unpackInt}
	case reflect.Uint64:
		return packing{packUint, unpackUint}
	case reflect.String:
		return packing{packString, unpackString}
	case reflect.Pointer:
		return pointerPacking(t)
	case reflect.Slice:
		return slicePacking(t)
	case reflect.Map:
		if t.Elem().Kind() == reflect.Interface {
			return packing{packAny, unpackAny}
		}
		return mapPacking(t)
	case reflect.Struct:
		return structPacking(t)
	}
	panic(fmt.Sprintf("a %s cannot be packed", t))
}

func packBool(p *packWriter, v reflect.Value) {
	n := uint64(0)
	if v.Bool() {
		n = 1
	}
	p.number(n)
}

func packInt(p *packWriter, v reflect.Value)    { p.out = binary.AppendVarint(p.out, v.Int()) }
func packUint(p *packWriter, v reflect.Value)   { p.number(v.Uint()) }
func packString(p *packWriter, v reflect.Value) { p.text(v.String()) }

func packAny(p *packWriter, v reflect.Value) {
	text := marshal(v.Interface())
	if string(text) == unencodable && !v.IsNil() {
		p.err = fmt.Errorf("it holds what JSON cannot: %w", ErrInvalid)
	}
	p.text(string(text))
}

func pointerPacking(t reflect.Type) packing {
	elem := packingOf(t.Elem())
	return packing{
		pack: func(p *packWriter, v reflect.Value) { elem.pack(p, v.Elem()) },
		unpack: func(u *packReader, v reflect.Value) {
			v.Set(reflect.New(t.Elem()))
			elem.unpack(u, v.Elem())
		},
	}
}

func slicePacking(t reflect.Type) packing {
	elem := packingOf(t.Elem())
	return packing{
		pack: func(p *packWriter, v reflect.Value) {
			n := v.Len()
			p.number(uint64(n))
			for i := range n {
				elem.pack(p, v.Index(i))
			}
		},
		unpack: func(u *packReader, v reflect.Value) {
			n := u.length()
			v.Set(reflect.MakeSlice(t, 0, min(n, maxUnpackedAhead)))
			for i := 0; i < n && u.err == nil; i++ {
				if i == v.Cap() {
					v.Grow(1)
				}
				v.SetLen(i + 1)
				elem.unpack(u, v.Index(i))
			}
		},
	}
}

func mapPacking(t reflect.Type) packing {
	elem := packingOf(t.Elem())
	return packing{
		pack: func(p *packWriter, v reflect.Value) {
			keys := v.MapKeys()
			slices.SortFunc(keys, func(a, b reflect.Value) int { return strings.Compare(a.String(), b.String()) })
			p.number(uint64(len(keys)))
			for _, k := range keys {
				p.text(k.String())
				elem.pack(p, v.MapIndex(k))
			}
		},
		unpack: func(u *packReader, v reflect.Value) {
			n := u.length()
			v.Set(reflect.MakeMapWithSize(t, min(n, maxUnpackedAhead)))
			for i := 0; i < n && u.err == nil; i++ {
				key, value := reflect.New(t.Key()).Elem(), reflect.New(t.Elem()).Elem()
				key.SetString(u.text())
				elem.unpack(u, value)
				v.SetMapIndex(key, value)
			}
		},
	}
}

// packedField is a field of a struct.
type packedField struct {
	packing
	lists bool // it says nothing when it is empty
	holds bool // it is a struct: it says nothing when none of its fields does
}

func packedFieldOf(f reflect.StructField) packedField {
	kind := f.Type.Kind()
	return packedField{
		packing: packingOf(f.Type),
		lists:   f.Tag.Get("json") == ",omitempty" && (kind == reflect.Slice || kind == reflect.Map),
		holds:   kind == reflect.Struct,
	}
}

// put packs the field and its number, unless it says nothing.
func (f *packedField) put(p *packWriter, number int, v reflect.Value) {
	if f.lists && v.Len() == 0 || !f.holds && v.IsZero() {
		return
	}
	before := len(p.out)
	p.number(uint64(number))
	value := len(p.out)
	if f.pack(p, v); f.holds && len(p.out) == value+1 {
		p.out = p.out[:before]
	}
}

func structPacking(t reflect.Type) packing {
	fields := make([]packedField, t.NumField())
	for i := range fields {
		fields[i] = packedFieldOf(t.Field(i))
	}
	return packing{
		pack: func(p *packWriter, v reflect.Value) {
			for i := range fields {
				fields[i].put(p, i+1, v.Field(i))
			}
			p.number(0)
		},
		unpack: func(u *packReader, v reflect.Value) {
			for last := 0; ; {
				n := u.number()
				if n == 0 || u.err != nil {
					return
				}
				if n > uint64(len(fields)) || int(n) <= last {
					u.fail("field %d of %d after field %d", n, len(fields), last)
					return
				}
				last = int(n)
				fields[last-1].unpack(u, v.Field(last-1))
			}
		},
	}
}
