package jobspecs

import (
	"encoding/json"
	"fmt"
	"maps"
	"reflect"
	"slices"

	"github.com/hashicorp/hcl/v2"
)

// jsonReader reads a job in the JSON of the API into nodes. Names are those of the table's JSON column.
type jsonReader struct {
	*collector
	name string // of the file
	src  []byte
}

// place is where a part of the text is.
func (r *jsonReader) place(s stretch) hcl.Range { return s.in(r.name) }

// job reads a job, or an object whose member Job is one; nil after an error.
func (r *jsonReader) job(v *jsonValue) *node {
	s := rootSchema().blocks["job"]
	path := ""
	if inner := v.member("Job"); inner != nil {
		for _, m := range v.members {
			if m.name != "Job" {
				r.errorf(r.place(m.nameAt), "unknown name %q beside Job; it belongs to a request, not to a job", m.name)
			}
		}
		v, path = inner, "Job."
	}
	if v.kind == '{' && v.member("job") != nil {
		r.error(r.place(v.at), "The top has the member ID, or Job with ID in it; names are written like TaskGroups.",
			"this is not the JSON of the API")
		return nil
	}
	n := r.node(s, v, path)
	if n != nil && n.label == "" {
		r.errorf(n.at, "the job has no ID")
		return nil
	}
	return n
}

// node reads one object.
func (r *jsonReader) node(s *schema, v *jsonValue, path string) *node {
	if v.kind != '{' {
		r.errorf(r.place(v.at), "%s must be an object, not %s", trimDot(path), kindOf(v.value()))
		return nil
	}
	at := r.place(v.at)
	at.End.Byte = at.Start.Byte + 1
	n := &r.room.nodes.take(1)[0]
	n.schema, n.at, n.attrs = s, at, r.room.attrs.take(len(v.members))[:0]
	if l := v.member(s.LabelKey); l != nil {
		n.label, _ = l.plain.(string)
		n.at = r.place(l.at)
	}
	for _, m := range v.members {
		name, ok := s.json[m.name]
		switch {
		case m.name == s.LabelKey && m.value.plain != nil && n.label == "":
			r.errorf(r.place(m.value.at), "%s%s must be a string that is not empty", path, m.name)
		case !ok && m.name == s.LabelKey:
		case !ok:
			r.errorf(r.place(m.nameAt), "unknown name %s%s%s", path, m.name, didYouMean(m.name, slices.Sorted(maps.Keys(s.json))))
		case s.blocks[name] != nil:
			r.blocks(n, s.blocks[name], m, path+m.name)
		default:
			if !unsetAmount(s.attrs[name], m, v) {
				r.attribute(n, s.attrs[name], m, path)
			}
		}
	}
	return n
}

func trimDot(path string) string {
	if path == "" {
		return "a job"
	}
	return path[:len(path)-1]
}

// attribute reads a member of the object at path.
func (r *jsonReader) attribute(n *node, f *Field, m member, path string) {
	if m.value.null() || f.Status != Works && saysNothing(f, m.value) || r.unsupported(f, r.place(m.nameAt)) {
		return
	}
	if f.Words != nil && m.value.plain == "" || f.Path == "network.port.static" && isZero(m.value) {
		return // how programs write "unset"
	}
	if f.JSONOnly() && f.Type == TypeFree {
		n.attrs.set(f.Name(), attr{value: json.RawMessage(r.src[m.value.at.from:m.value.at.to]), at: r.place(m.value.at)})
		return
	}
	got, err := f.read(m.value)
	if err != nil {
		r.errorf(r.place(m.value.at), "%s%s %v", path, m.name, err)
	}
	n.attrs.set(f.Name(), attr{value: got, at: r.place(m.value.at), bad: err != nil})
}

// read is convert of a JSON value. Most numbers are what they seem to be, and need no large ones.
func (f *Field) read(v *jsonValue) (any, error) {
	if n, ok := v.plain.(whole); ok {
		switch f.Type {
		case TypeNumber, TypeDuration, TypeMiB, TypeMHz:
			return f.bounded(int64(n), nil)
		}
	}
	return f.convert(v.value())
}

// blocks reads the member that holds one block, or a list of them.
func (r *jsonReader) blocks(n *node, s *schema, m member, path string) {
	if m.value.null() || s.Status != Works && blockSaysNothing(s, m.value) || r.unsupported(&s.Field, r.place(m.nameAt)) {
		return
	}
	if s.Type == TypeBlock && !s.List {
		r.adoptNode(n, r.node(s, m.value, path+"."), m, path)
		return
	}
	if m.value.kind != '[' {
		r.errorf(r.place(m.value.at), "%s must be a list, not %s", path, kindOf(m.value.value()))
		return
	}
	for i, e := range m.value.list {
		if len(n.kids) >= MaxBlocks {
			r.errorf(r.place(e.at), "the job has more than %d blocks", MaxBlocks)
			return
		}
		p := fmt.Sprintf("%s[%d]", path, i)
		r.adoptNode(n, r.node(s, e, p+"."), m, p)
	}
}

// adoptNode adds what was read to its parent, with the checks that HCL's syntax does by itself.
func (r *jsonReader) adoptNode(n, kid *node, m member, path string) {
	if kid == nil {
		return
	}
	if kid.Type == TypeLabelled && kid.label == "" {
		r.errorf(kid.at, "%s.%s is missing", path, kid.LabelKey)
		return
	}
	switch static := kid.has("static"); {
	case m.name == "DynamicPorts" && static:
		r.errorf(kid.at, "%s.Value: a dynamic port has no number; use ReservedPorts", path)
	case m.name == "ReservedPorts" && !static:
		r.errorf(kid.at, "%s.Value is missing", path)
	}
	r.adopt(n, kid)
}

// saysNothing reports whether a value that is not supported is the one that it has anyway: programs write every field.
func saysNothing(f *Field, v *jsonValue) bool {
	if isZero(v) || f.Status == Quiet {
		return true
	}
	if f.Default == "" {
		return false
	}
	got, err := f.read(v)
	want, _ := f.fallback(false)
	return err == nil && reflect.DeepEqual(got, want)
}

func blockSaysNothing(s *schema, v *jsonValue) bool {
	for _, m := range v.members {
		name := s.json[m.name]
		switch {
		case s.attrs[name] != nil && saysNothing(s.attrs[name], m.value):
		case s.blocks[name] != nil && blockSaysNothing(s.blocks[name], m.value):
		case !isZero(m.value):
			return false
		}
	}
	return v.kind == '{' || isZero(v)
}

// isZero reports whether a value is null, false, 0, "", [] or {}.
func isZero(v *jsonValue) bool {
	if v.kind != 0 {
		return len(v.members)+len(v.list) == 0
	}
	switch p := v.plain.(type) {
	case nil:
		return true
	case bool:
		return !p
	case string:
		return p == ""
	case interface{ Sign() int }:
		return p.Sign() == 0
	}
	return false
}

// parseJSON is the JSON door: text → tree → job.
func (c *collector) parseJSON(name string, src []byte) *node {
	v := c.parseJSONText(name, src)
	if v == nil {
		return nil
	}
	r := &jsonReader{collector: c, name: name, src: src}
	return r.job(v)
}
