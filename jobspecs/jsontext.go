package jobspecs

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/big"
	"unicode/utf8"

	"github.com/hashicorp/hcl/v2"
)

// jsonValue is a JSON value with its place.
type jsonValue struct {
	at      hcl.Range
	plain   any // nil, bool, string or *big.Float; unused for the others
	members []member
	list    []*jsonValue
	kind    byte // '{', '[' or 0
}

// member is one name and value of an object.
type member struct {
	name   string
	nameAt hcl.Range
	value  *jsonValue
}

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

// jsonText reads JSON text, which checkJSON has passed, into values.
type jsonText struct {
	*collector
	name string
	src  []byte
	dec  *json.Decoder
}

// parseJSONText returns nil after an error.
func (c *collector) parseJSONText(name string, src []byte) *jsonValue {
	c.files[name] = src
	t := &jsonText{collector: c, name: name, src: src, dec: json.NewDecoder(bytes.NewReader(src))}
	t.dec.UseNumber()
	switch i, bad := checkJSON(src), badUTF8(src); {
	case len(src) > MaxSource:
		t.errorf(t.span(0, 0), "the text is larger than %d bytes", MaxSource)
	case bad >= 0:
		t.errorf(t.span(bad, bad+1), "the text is not UTF-8")
	case i >= 0:
		t.errorf(t.span(i, i+1), "objects and lists are nested deeper than %d levels", MaxNesting)
	default:
		v, ok := t.next()
		if !ok {
			return nil
		}
		if tok, err := t.dec.Token(); err != io.EOF {
			end := int(t.dec.InputOffset())
			t.errorf(t.span(max(0, end-1), end), "there is more text after the job (%v)", tok)
			return nil
		}
		return v
	}
	return nil
}

func badUTF8(src []byte) int {
	for i := 0; i < len(src); {
		r, n := utf8.DecodeRune(src[i:])
		if r == utf8.RuneError && n == 1 {
			return i
		}
		i += n
	}
	return -1
}

func (t *jsonText) span(start, end int) hcl.Range {
	return hcl.Range{Filename: t.name, Start: hcl.Pos{Byte: start}, End: hcl.Pos{Byte: end}}
}

// token returns the next token with its place.
func (t *jsonText) token() (json.Token, hcl.Range, bool) {
	start := int(t.dec.InputOffset())
	for start < len(t.src) && bytes.IndexByte([]byte(" \t\r\n,:"), t.src[start]) >= 0 {
		start++
	}
	tok, err := t.dec.Token()
	if err == nil {
		return tok, t.span(start, int(t.dec.InputOffset())), true
	}
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
	return nil, hcl.Range{}, false
}

func (t *jsonText) next() (*jsonValue, bool) {
	tok, at, ok := t.token()
	if !ok {
		return nil, false
	}
	v := &jsonValue{at: at, plain: tok}
	switch tok := tok.(type) {
	case json.Delim:
		v.plain, v.kind = nil, byte(tok)
		ok = t.inside(v)
		v.at.End.Byte = int(t.dec.InputOffset())
	case json.Number:
		n, err := parseNumber(tok.String())
		if err != nil {
			t.errorf(at, "%v", err)
			return nil, false
		}
		v.plain = n
	}
	return v, ok
}

func parseNumber(s string) (*big.Float, error) {
	if len(s) > 400 {
		return nil, errors.New("the number has too many digits")
	}
	n, _, err := big.ParseFloat(s, 10, 512, big.ToNearestEven)
	if err != nil || !representable(n) {
		return nil, fmt.Errorf("the number %s is out of range", cut(s))
	}
	return n, nil
}

// inside reads the rest of an object or a list.
func (t *jsonText) inside(v *jsonValue) bool {
	seen := map[string]bool{}
	for t.dec.More() {
		var m member
		if v.kind == '{' {
			tok, at, ok := t.token()
			if !ok {
				return false
			}
			m.name, ok = tok.(string)
			m.nameAt = at
			if !ok {
				t.errorf(at, "this is not JSON: the name of a member must be a string")
				return false
			}
			if seen[m.name] {
				t.errorf(at, "the name %q is used twice", m.name)
				return false
			}
			seen[m.name] = true
		}
		e, ok := t.next()
		if !ok {
			return false
		}
		if m.value = e; v.kind == '{' {
			v.members = append(v.members, m)
		} else {
			v.list = append(v.list, e)
		}
	}
	_, _, ok := t.token() // the closing bracket
	return ok
}
