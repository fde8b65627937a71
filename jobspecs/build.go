package jobspecs

import (
	"encoding/json"
	"errors"
	"slices"
	"strconv"
	"strings"

	fastjson "github.com/go-json-experiment/json"
	jsonv1 "github.com/go-json-experiment/json/v1"
	"github.com/hashicorp/hcl/v2"

	"github.com/drover-io/drover/state"
)

// spot names a place in a job as state.FieldError does.
type spot struct{ group, task, field string }

// builder turns a shaped tree into a state.Job by the JSON names of the table.
type builder struct {
	*collector
	job    *node
	text   []byte
	places map[spot]hcl.Range // where everything was written, once something is to be said of it
}

// build returns nil after an error.
func (c *collector) build(job *node) *state.Job {
	b := &builder{collector: c, job: job, text: c.room.text}
	err := b.object(job)
	c.room.text = b.text
	if len(b.text) > MaxJob {
		c.errorf(job.at, "the job has %d bytes once everything is filled in; it may have %d", len(b.text), MaxJob)
		return nil
	}
	if err == nil {
		var j state.Job
		if err = fastjson.Unmarshal(b.text, &j, jsonv1.DefaultOptionsV1(), fastjson.RejectUnknownMembers(true)); err == nil {
			if b.check(&j); c.hasErrors() {
				return nil
			}
			return &j
		}
	}
	c.errorf(job.at, "the job cannot be read: %v", err)
	return nil
}

// object writes a node as JSON.
func (b *builder) object(n *node) error {
	b.text = append(b.text, '{')
	if n.LabelKey != "" && n.attrs.of("id").value == nil {
		b.name(n.LabelKey)
		if err := b.value(n.label); err != nil {
			return err
		}
	}
	for i := range n.attrs {
		a := &n.attrs[i]
		if f := n.schema.attrs[a.name]; !a.bad && len(f.JSON) > 0 && !empty(a.value) {
			b.name(f.JSON[0])
			if err := b.value(a.value); err != nil {
				return err
			}
		}
	}
	for _, p := range n.presets {
		if member := p.of(b.batch); member != nil && !n.has(p.name) {
			b.text = append(b.comma(), member...)
		}
	}
	var written []string
	for i, k := range n.kids {
		key := k.key()
		if slices.Contains(written, key) {
			continue
		}
		written = append(written, key)
		b.name(key)
		if err := b.kids(n.kids[i:], key); err != nil {
			return err
		}
	}
	b.text = append(b.text, '}')
	return nil
}

// kids writes the value of a key: one block, or the list of all of those that have this key.
func (b *builder) kids(kids []*node, key string) error {
	if k := kids[0]; k.Type == TypeBlock && !k.List {
		return b.object(k)
	}
	b.text = append(b.text, '[')
	for i, k := range kids {
		if k.key() != key {
			continue
		}
		if i > 0 {
			b.text = append(b.text, ',')
		}
		if err := b.object(k); err != nil {
			return err
		}
	}
	b.text = append(b.text, ']')
	return nil
}

// key is the JSON name that a block stands under.
func (n *node) key() string {
	if n.Path == "network.port" && n.has("static") {
		return n.JSON[1]
	}
	return n.JSON[0]
}

// name writes the name of a member. Names of the table need no escapes.
func (b *builder) name(name string) {
	b.text = append(append(append(b.comma(), '"'), name...), '"', ':')
}

// comma is the text so far, ready for another member.
func (b *builder) comma() []byte {
	if b.text[len(b.text)-1] != '{' {
		return append(b.text, ',')
	}
	return b.text
}

// value writes the value of an attribute.
func (b *builder) value(v any) error {
	switch v := v.(type) {
	case int64:
		b.text = strconv.AppendInt(b.text, v, 10)
		return nil
	case bool:
		b.text = strconv.AppendBool(b.text, v)
		return nil
	case string:
		if harmless(v) {
			b.text = append(append(append(b.text, '"'), v...), '"')
			return nil
		}
	}
	text, err := json.Marshal(v)
	b.text = append(b.text, text...)
	return err
}

// harmless reports whether a string stands in JSON as it is.
func harmless(s string) bool {
	for i := range len(s) {
		if c := s[i]; c < ' ' || c > '~' || c == '"' || c == '\\' {
			return false
		}
	}
	return true
}

// note notes the places of everything in a node.
func (b *builder) note(n *node, at spot) {
	b.places[at] = n.at
	for _, a := range n.attrs {
		here := at.within(a.name)
		b.places[here] = a.at
		for key, r := range a.keys {
			b.places[here.within(key)] = r
		}
	}
	for _, k := range n.kids {
		here := at.within(k.Name())
		switch k.Path {
		case "group":
			here = spot{group: k.label}
		case "task":
			here = spot{group: at.group, task: k.label}
		case "network.port":
			here = at.within(k.Name()).within(k.label)
		}
		b.note(k, here)
	}
}

func (s spot) within(name string) spot {
	if s.field != "" {
		name = s.field + "." + name
	}
	s.field = name
	return s
}

// empty reports whether a map or a list has nothing in it; a job says nothing of those.
func empty(v any) bool {
	switch v := v.(type) {
	case map[string]any:
		return len(v) == 0
	case []any:
		return len(v) == 0
	}
	return false
}

// check runs the job's own validation and points its errors at what was written.
func (b *builder) check(j *state.Job) {
	err := j.Validate()
	if err == nil {
		b.ask(j)
		return
	}
	problems := []error{err}
	if joined, ok := err.(interface{ Unwrap() []error }); ok {
		problems = joined.Unwrap()
	}
	for _, p := range problems {
		var f *state.FieldError
		if !errors.As(p, &f) {
			b.also(b.place(spot{}), "%v", p)
			continue
		}
		at := b.place(spot{f.Group, f.Task, f.Field})
		message := f.Problem
		if f.Field != "" {
			message = f.Field + ": " + message
		}
		b.also(at, "%s", message)
	}
}

// ask has others look at a valid job.
func (b *builder) ask(j *state.Job) {
	if b.examine == nil {
		return
	}
	problems, warnings := b.examine(j)
	for _, f := range problems {
		b.also(b.place(spot{f.Group, f.Task, f.Field}), "%s: %s", f.Field, f.Problem)
	}
	for _, f := range warnings {
		b.warnf(b.place(spot{f.Group, f.Task, f.Field}), "%s: %s", f.Field, f.Problem)
	}
}

// place finds where a field was written, or the nearest thing around it.
func (b *builder) place(s spot) hcl.Range {
	if b.places == nil {
		b.places = map[spot]hcl.Range{}
		b.note(b.job, spot{})
	}
	for {
		if at, ok := b.places[s]; ok {
			return at
		}
		switch i := strings.LastIndexByte(s.field, '.'); {
		case i >= 0:
			s.field = s.field[:i]
		case s.field != "":
			s.field = ""
		case s.task != "":
			s.task = ""
		case s.group != "":
			s.group = ""
		default:
			return b.places[spot{}]
		}
	}
}
