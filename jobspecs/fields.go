package jobspecs

import (
	_ "embed" // the table and the example are files
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"sync"
)

// Status says what happens to a name of the job language.
type Status string

// The statuses of a Field.
const (
	Works   Status = "works"  // it reaches the state.Job
	Warns   Status = "warn"   // accepted and ignored, which is said
	Quiet   Status = "quiet"  // accepted and ignored in JSON, where programs write it unasked
	Refused Status = "refuse" // known, and an error
)

// Type is what a Field holds.
type Type string

// The types of a Field.
const (
	TypeString   Type = "string"
	TypeNumber   Type = "number" // a whole number
	TypeBool     Type = "bool"
	TypeDuration Type = "duration" // "30s"; in JSON nanoseconds too
	TypeMiB      Type = "MiB"      // a whole number of MiB, or a string with a unit
	TypeMHz      Type = "MHz"      // a whole number of MHz, or a string with a unit
	TypeList     Type = "list"     // of strings
	TypeMap      Type = "map"      // of strings; may be written as a block or as an attribute
	TypeFree     Type = "free"     // any JSON value
	TypeBlock    Type = "block"    // at most once
	TypeBlocks   Type = "blocks"   // any number of times
	TypeLabelled Type = "labelled" // any number of times, each with a label
)

// Field is one row of the decode table: one block or attribute of the job language.
type Field struct {
	Path     string   // "group.count"; a last word with a capital exists in JSON only
	Scope    string   // letters of the blocks that the path's first block may stand in: F file, J job, G group, T task, D device; "-" elsewhere
	Type     Type     // what it holds
	Required bool     // whether it must be there
	Min, Max *int64   // bounds of a number, in the type's unit (nanoseconds for durations); nil where there is none
	Words    []string // the only strings that work; nil for any
	Later    []string // strings that are known but refused
	LabelKey string   // JSON name of a labelled block's label
	List     bool     // a block that is a list in JSON
	Default  string   // as a job file would say it
	Batch    string   // Default in batch jobs where it differs
	JSON     []string // names in JSON, the written one first; none when it has no JSON form
	Status   Status
	Note     string // said instead of the usual words of a refusal or a warning
	Meaning  string // one line for people
}

// Name is the last word of the path.
func (f *Field) Name() string { return f.Path[strings.LastIndexByte(f.Path, '.')+1:] }

// JSONOnly reports whether the field cannot be written in HCL.
func (f *Field) JSONOnly() bool { n := f.Name(); return n[0] >= 'A' && n[0] <= 'Z' }

func (f *Field) isBlock() bool {
	return f.Type == TypeBlock || f.Type == TypeBlocks || f.Type == TypeLabelled
}

//go:embed fields.txt
var fieldsText string

// Fields returns the decode table in the order of its file. The slice is the caller's.
func Fields() []Field {
	var fields []Field
	for n, line := range strings.Split(fieldsText, "\n") {
		if line == "" || line[0] == '#' {
			continue
		}
		f, err := parseField(line)
		if err != nil { // a mistake in this package, found by its first test
			panic(fmt.Sprintf("fields.txt line %d: %v", n+1, err))
		}
		fields = append(fields, f)
	}
	return fields
}

func parseField(line string) (Field, error) {
	cols := strings.Split(line, "|")
	if len(cols) != 7 {
		return Field{}, fmt.Errorf("want 7 columns, have %d", len(cols))
	}
	for i := range cols {
		cols[i] = strings.TrimSpace(cols[i])
	}
	f := Field{Path: cols[0], Scope: cols[1], Meaning: cols[6]}
	f.Default, f.Batch, _ = strings.Cut(cols[3], " ; ")
	status, note, _ := strings.Cut(cols[5], ": ")
	f.Status, f.Note = Status(status), note
	switch cols[4] {
	case "-":
	case "=":
		f.JSON = []string{pascal(f.Name())}
	default:
		f.JSON = strings.Split(cols[4], ",")
	}
	return f, f.parseType(cols[2])
}

// parseType reads "number[1..100]!", "string[a b / c]", "labelled(Name)".
func (f *Field) parseType(s string) error {
	s, f.Required = strings.CutSuffix(s, "!")
	if name, rest, ok := strings.Cut(s, "("); ok {
		f.Type, f.LabelKey = Type(name), strings.TrimSuffix(rest, ")")
		if f.LabelKey == "list" {
			f.List, f.LabelKey = true, ""
		}
		return nil
	}
	name, rest, ok := strings.Cut(s, "[")
	f.Type = Type(name)
	if f.Type == TypeLabelled {
		f.LabelKey = "Name"
	}
	if !ok {
		return nil
	}
	rest = strings.TrimSuffix(rest, "]")
	if f.Type == TypeString {
		words, later, _ := strings.Cut(rest, " / ")
		f.Words, f.Later = strings.Fields(words), strings.Fields(later)
		return nil
	}
	low, high, _ := strings.Cut(rest, "..")
	var err error
	if f.Min, err = parseBound(low); err == nil {
		f.Max, err = parseBound(high)
	}
	return err
}

func parseBound(s string) (*int64, error) {
	if s == "" {
		return nil, nil
	}
	n, err := strconv.ParseInt(s, 10, 64)
	return &n, err
}

// pascal turns kill_timeout into KillTimeout.
func pascal(s string) string {
	var b strings.Builder
	for _, w := range strings.Split(s, "_") {
		if w == "id" || w == "ui" {
			b.WriteString(strings.ToUpper(w))
			continue
		}
		b.WriteString(strings.ToUpper(w[:1]) + w[1:])
	}
	return b.String()
}

// schema is one block of the language: its row and what may stand in it.
type schema struct {
	Field
	attrs  map[string]*Field  // by HCL name, JSON-only ones too
	blocks map[string]*schema // by HCL name
	json   map[string]string  // JSON name → HCL name

	sorted   []string  // what names returns
	made     []*schema // the blocks that a job has whether written or not, in the order of their names
	required []*Field  // the attributes that must be there, in the order of their names
	presets  []preset  // the attributes that have a default, in the order of their names
}

// rootSchema returns what may stand at the top of a file.
var rootSchema = sync.OnceValue(buildSchema)

func buildSchema() *schema {
	root := newSchema(Field{Path: "file", Type: TypeBlock, Status: Works})
	scopes := map[rune]*schema{'F': root}
	byPath := map[string]*schema{}
	for _, f := range Fields() {
		parents := []*schema{}
		i := strings.LastIndexByte(f.Path, '.')
		if i >= 0 {
			parents = append(parents, byPath[f.Path[:i]])
		} else {
			for _, c := range f.Scope {
				parents = append(parents, scopes[c])
			}
		}
		var s *schema
		if f.isBlock() {
			s = newSchema(f)
			byPath[f.Path] = s
			if letter, ok := map[string]rune{"job": 'J', "group": 'G', "task": 'T', "resources.device": 'D'}[f.Path]; ok {
				scopes[letter] = s
			}
		}
		for _, p := range parents {
			p.add(f, s)
		}
	}
	root.settle(map[*schema]bool{})
	return root
}

// settle works out what would be the same for every job.
func (s *schema) settle(done map[*schema]bool) {
	if done[s] {
		return
	}
	done[s] = true
	for n, f := range s.attrs {
		if f.JSONOnly() {
			continue
		}
		s.sorted = append(s.sorted, n)
	}
	for n := range s.blocks {
		s.sorted = append(s.sorted, n)
	}
	slices.Sort(s.sorted)
	for _, n := range s.sorted {
		if f := s.attrs[n]; f != nil {
			if f.Required {
				s.required = append(s.required, f)
			}
			if p, ok := f.preset(); ok {
				s.presets = append(s.presets, p)
			}
		}
		if b := s.blocks[n]; b != nil {
			if b.Type == TypeBlock && !b.List && b.Status == Works {
				s.made = append(s.made, b)
			}
			b.settle(done)
		}
	}
}

func newSchema(f Field) *schema {
	return &schema{Field: f, attrs: map[string]*Field{}, blocks: map[string]*schema{}, json: map[string]string{}}
}

func (s *schema) add(f Field, block *schema) {
	name := f.Name()
	if block != nil {
		s.blocks[name] = block
	} else {
		s.attrs[name] = &f
	}
	for _, j := range f.JSON {
		s.json[j] = name
	}
}

// preset is what a job that does not say otherwise has: a member of its JSON object, in services and in batch jobs, nil for none.
type preset struct {
	name           string
	service, batch []byte
}

// of is the member for one kind of job.
func (p preset) of(batch bool) []byte {
	if batch {
		return p.batch
	}
	return p.service
}

// preset is false when the attribute has no default that reaches a job.
func (f *Field) preset() (preset, bool) {
	p := preset{name: f.Name()}
	if f.Status != Works || len(f.JSON) == 0 {
		return p, false
	}
	for _, to := range []struct {
		member *[]byte
		batch  bool
	}{{&p.service, false}, {&p.batch, true}} {
		v, ok := f.fallback(to.batch)
		if !ok || empty(v) {
			continue
		}
		text, err := json.Marshal(map[string]any{f.JSON[0]: v})
		if err == nil { // a string, a number, a word or a list of one
			*to.member = text[1 : len(text)-1]
		}
	}
	return p, p.service != nil || p.batch != nil
}

// names returns every name that HCL may use in the block, sorted. The slice is the schema's.
func (s *schema) names() []string { return s.sorted }
