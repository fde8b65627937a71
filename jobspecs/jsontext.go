package jobspecs

import (
	"bytes"
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/big"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/go-json-experiment/json/jsontext"
	"github.com/hashicorp/hcl/v2"
)

// jsonValue is a JSON value with its place.
type jsonValue struct {
	at      stretch
	plain   any // nil, bool, string, whole or *big.Float; unused for the others
	members []member
	list    []*jsonValue
	kind    byte // '{', '[' or 0
}

// stretch is a part of the text, from one byte to before another. A job has hundreds, and hcl.Range is eight words long.
type stretch struct{ from, to int32 }

// in is the stretch of a file.
func (s stretch) in(file string) hcl.Range {
	return hcl.Range{Filename: file, Start: hcl.Pos{Byte: int(s.from)}, End: hcl.Pos{Byte: int(s.to)}}
}

// member is one name and value of an object.
type member struct {
	name   string
	nameAt stretch
	value  *jsonValue
}

// whole is a number that most are: small, and without a point.
type whole int64

// Sign is that of the number, as a *big.Float has it.
func (n whole) Sign() int { return cmp.Compare(n, 0) }

// value returns what the JSON value holds, as plain does for HCL.
func (v *jsonValue) value() any {
	switch v.kind {
	case '{':
		m := make(map[string]any, len(v.members))
		for _, mb := range v.members {
			m[mb.name] = mb.value.value()
		}
		return m
	case '[':
		list := make([]any, len(v.list))
		for i, e := range v.list {
			list[i] = e.value()
		}
		return list
	}
	if n, ok := v.plain.(whole); ok {
		return new(big.Float).SetPrec(512).SetInt64(int64(n))
	}
	return v.plain
}

func (v *jsonValue) null() bool { return v.kind == 0 && v.plain == nil }

// member returns the value of a name, nil when there is none.
func (v *jsonValue) member(name string) *jsonValue {
	for _, m := range v.members {
		if m.name == name {
			return m.value
		}
	}
	return nil
}

// jsonText reads JSON text, which checkJSON has passed, into values. Text that is JSON is read as such; a decoder, which takes several
// times as long, says of other text where it stops being some.
type jsonText struct {
	*collector
	name string
	src  string
	pos  int
}

// parseJSONText returns nil after an error.
func (c *collector) parseJSONText(name string, src []byte) *jsonValue {
	c.files[name] = src
	t := &jsonText{collector: c, name: name, src: string(src)} // of which every string is a part
	switch i, bad := checkJSON(src), badUTF8(src); {
	case len(src) > MaxSource:
		t.errorf(t.span(0, 0), "the text is larger than %d bytes", MaxSource)
	case bad >= 0:
		t.errorf(t.span(bad, bad+1), "the text is not UTF-8")
	case i >= 0:
		t.errorf(t.span(i, i+1), "objects and lists are nested deeper than %d levels", MaxNesting)
	case !isJSON(src):
		t.complain(src)
	default:
		if v, ok := t.next(); ok {
			return v
		}
	}
	return nil
}

// isJSON reports whether text is JSON. The first to be asked takes a third of the time of the second, whose word counts.
func isJSON(src []byte) bool {
	return jsontext.Value(src).IsValid(jsontext.AllowDuplicateNames(true)) || json.Valid(src)
}

func badUTF8(src []byte) int {
	if utf8.Valid(src) {
		return -1
	}
	for i := 0; i < len(src); {
		r, n := utf8.DecodeRune(src[i:])
		if r == utf8.RuneError && n == 1 {
			return i
		}
		i += n
	}
	return -1
}

// span is the place of a part of the text.
func (t *jsonText) span(start, end int) hcl.Range {
	return hcl.Range{Filename: t.name, Start: hcl.Pos{Byte: start}, End: hcl.Pos{Byte: end}}
}

// complain says what is wrong with text that is not JSON.
func (t *jsonText) complain(src []byte) {
	dec := json.NewDecoder(bytes.NewReader(src))
	dec.UseNumber()
	for depth, n := 0, 0; ; n++ {
		start := int(dec.InputOffset())
		for start < len(t.src) && strings.IndexByte(" \t\r\n,:", t.src[start]) >= 0 {
			start++
		}
		tok, err := dec.Token()
		if depth == 0 && n > 0 {
			end := int(dec.InputOffset())
			t.errorf(t.span(max(0, end-1), end), "there is more text after the job (%v)", tok)
			return
		}
		if err != nil {
			t.broken(start, err)
			return
		}
		switch tok {
		case json.Delim('{'), json.Delim('['):
			depth++
		case json.Delim('}'), json.Delim(']'):
			depth--
		}
	}
}

// broken says why a token cannot be read.
func (t *jsonText) broken(start int, err error) {
	var syntax *json.SyntaxError
	switch {
	case errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF):
		t.errorf(t.span(len(t.src), len(t.src)), "the JSON text ends too early")
	case errors.As(err, &syntax):
		at := min(max(start, int(syntax.Offset)-1), len(t.src))
		t.errorf(t.span(at, at+1), "this is not JSON: %v", err)
	default:
		t.errorf(t.span(start, start+1), "this is not JSON: %v", err)
	}
}

// skip passes over what stands between values.
func (t *jsonText) skip() {
	for {
		switch t.src[t.pos] {
		case ' ', '\t', '\r', '\n', ',', ':':
			t.pos++
		default:
			return
		}
	}
}

// next reads a value of text that is known to be JSON.
func (t *jsonText) next() (v *jsonValue, ok bool) {
	t.skip()
	start := t.pos
	v, ok = t.fresh(), true
	switch c := t.src[start]; c {
	case '{', '[':
		v.kind = c
		t.pos++
		ok = t.inside(v, c+2) // the closing brackets stand two behind the opening ones in ASCII
	case '"':
		v.plain = t.text()
	case 't':
		v.plain, t.pos = true, start+len("true")
	case 'f':
		v.plain, t.pos = false, start+len("false")
	case 'n':
		t.pos += len("null")
	default:
		for t.pos < len(t.src) && strings.IndexByte("+-.0123456789Ee", t.src[t.pos]) >= 0 {
			t.pos++
		}
		n, err := parseNumber(t.src[start:t.pos])
		if err != nil {
			t.errorf(t.span(start, t.pos), "%v", err)
			return nil, false
		}
		v.plain = n
	}
	v.at = stretch{int32(start), int32(t.pos)}
	return v, ok
}

// fresh is a value to be filled in.
func (t *jsonText) fresh() *jsonValue { return &t.room.values.take(1)[0] }

// text reads a string.
func (t *jsonText) text() string {
	start := t.pos
	for t.pos++; t.src[t.pos] != '"'; t.pos++ {
		if t.src[t.pos] == '\\' {
			t.pos++
		}
	}
	t.pos++
	raw := t.src[start:t.pos]
	if strings.IndexByte(raw, '\\') < 0 {
		return raw[1 : len(raw)-1]
	}
	var s string
	if err := json.Unmarshal([]byte(raw), &s); err != nil {
		return "" // the text is JSON
	}
	return s
}

// parseNumber reads a number.
func parseNumber(s string) (any, error) {
	if n, err := strconv.ParseInt(s, 10, 64); err == nil && s != "-0" {
		return whole(n), nil
	}
	if len(s) > 400 {
		return nil, errors.New("the number has too many digits")
	}
	n, _, err := big.ParseFloat(s, 10, 512, big.ToNearestEven)
	if err != nil || !representable(n) {
		return nil, fmt.Errorf("the number %s is out of range", cut(s))
	}
	return n, nil
}

// manyMembers is from where on an object's names are looked up and not compared one by one.
const manyMembers = 32

// inside reads the rest of an object or a list.
func (t *jsonText) inside(v *jsonValue, closing byte) bool {
	if v.kind == '{' {
		return t.object(v, closing)
	}
	w := t.room
	first := len(w.openLists)
	for {
		if t.skip(); t.src[t.pos] == closing {
			t.pos++
			break
		}
		e, ok := t.next()
		if !ok {
			return false
		}
		w.openLists = append(w.openLists, e)
	}
	if whole := w.openLists[first:]; len(whole) > 0 {
		v.list = w.lists.take(len(whole))
		copy(v.list, whole)
	}
	w.openLists = w.openLists[:first]
	return true
}

// object is inside of an object.
func (t *jsonText) object(v *jsonValue, closing byte) bool {
	w := t.room
	first := len(w.openMembers)
	var seen map[string]bool // of an object with many members
	for {
		if t.skip(); t.src[t.pos] == closing {
			t.pos++
			break
		}
		start := t.pos
		m := member{name: t.text()}
		m.nameAt = stretch{int32(start), int32(t.pos)}
		others := w.openMembers[first:]
		if len(others) == manyMembers {
			seen = map[string]bool{}
			for _, other := range others {
				seen[other.name] = true
			}
		}
		if seen[m.name] || seen == nil && slices.ContainsFunc(others, func(other member) bool { return other.name == m.name }) {
			t.errorf(t.span(start, t.pos), "the name %q is used twice", m.name)
			return false
		}
		if seen != nil {
			seen[m.name] = true
		}
		var ok bool
		if m.value, ok = t.next(); !ok {
			return false
		}
		w.openMembers = append(w.openMembers, m)
	}
	if whole := w.openMembers[first:]; len(whole) > 0 {
		v.members = w.members.take(len(whole))
		copy(v.members, whole)
	}
	w.openMembers = w.openMembers[:first]
	return true
}
