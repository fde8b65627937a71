package jobspecs

import (
	"bytes"

	"github.com/hashicorp/hcl/v2"
	"github.com/hashicorp/hcl/v2/hclsyntax"

	"github.com/drover-io/drover/state"
)

// Source is a text with the name that diagnostics call it by.
type Source struct {
	Name string
	Data []byte
}

// Inputs is what a job file gets from outside. Of several values for one variable the last of this order wins: the default in the
// file, Env, VarFiles, Vars.
type Inputs struct {
	VarFiles []Source // files of name = value, HCL or JSON; later ones win
	Vars     []string // name=value, as on a command line; later ones win
	Env      []string // the environment as os.Environ returns it: DROVER_VAR_name, then NOMAD_VAR_name; read by env() too
	Strict   bool     // a value in VarFiles or Vars for a variable that the file does not declare is an error, otherwise ignored
	BaseDir  string   // what relative paths of file functions start from; "" forbids those functions
	Check    Check    // what others have to say about the job, such as its drivers; nil means nothing
}

// Check looks at a job that is valid as far as this package knows. What it finds is reported at the place in the file that the
// fields name.
type Check func(j *state.Job) (problems, warnings []*state.FieldError)

// Parse reads a job file: HCL, or, when its first character is "{", the JSON of the API. The job is nil exactly when the diagnostics
// have errors. Sizes, nesting and the work of evaluation are bounded; wall time is the caller's to bound.
func Parse(src Source, in Inputs) (*state.Job, Diagnostics) {
	c := newCollector()
	defer c.room.leave()
	c.examine = in.Check
	if src.Name == "" {
		src.Name = "job"
	}
	c.files[src.Name] = src.Data
	var n *node
	if first := bytes.TrimLeft(src.Data, " \t\r\n"); len(first) > 0 && first[0] == '{' {
		n = c.parseJSON(src.Name, src.Data)
		c.noVariables(in)
	} else {
		n = c.parseHCL(src, in)
	}
	return c.finish(n)
}

// ParseJSON reads a job in the JSON of the API, alone or as the member Job of an object. Defaults are filled in; what json.Marshal
// makes of a state.Job comes back as an equal one. Names that the table does not have are errors.
func ParseJSON(data []byte) (*state.Job, Diagnostics) {
	c := newCollector()
	defer c.room.leave()
	return c.finish(c.parseJSON("job.json", data))
}

// finish turns a tree into a job.
func (c *collector) finish(n *node) (*state.Job, Diagnostics) {
	var j *state.Job
	if n != nil {
		if c.shape(n); !c.hasErrors() {
			j = c.build(n)
		}
	}
	return j, c.take()
}

// noVariables refuses variables for a job that cannot have any.
func (c *collector) noVariables(in Inputs) {
	if in.Strict {
		for _, v := range in.Vars {
			name, _, _ := cutVar(v)
			file := "-var " + name
			c.files[file] = []byte(v)
			c.errorf(hcl.Range{Filename: file, End: hcl.Pos{Byte: len(v)}}, "a job in JSON has no variables")
		}
	}
}

// parseHCL reads HCL text into the tree of its job; nil when there is none.
func (c *collector) parseHCL(src Source, in Inputs) *node {
	body := c.syntax(src)
	if body == nil {
		return nil
	}
	f := c.file(body, src.Name)
	ev := &evaluator{collector: c, meter: &meter{left: MaxWork}, warnedOf: map[string]bool{}, bad: map[string]struct{}{},
		known: map[string][]string{}}
	ev.meter.watch(body)
	ev.base = &hcl.EvalContext{Functions: functions(in, ev)}
	ev.variables(f.variables, in)
	ev.localValues(f.locals)
	if f.job == nil {
		return nil
	}
	r := &hclReader{evaluator: ev}
	s := rootSchema().blocks["job"]
	label, ok := r.label(s, f.job)
	if !ok {
		return nil
	}
	return r.block(s, label, f.job.DefRange(), f.job.Body, ev.base)
}

// syntax parses HCL text after it has passed the bounds; nil after an error, because what follows from one says nothing.
func (c *collector) syntax(src Source) *hclsyntax.Body {
	c.files[src.Name] = src.Data
	top := hcl.Range{Filename: src.Name, Start: hcl.InitialPos, End: hcl.InitialPos}
	if len(src.Data) > MaxSource {
		c.errorf(top, "the file has more than %d bytes", MaxSource)
		return nil
	}
	tokens, _ := hclsyntax.LexConfig(src.Data, src.Name, hcl.InitialPos)
	if at, message := checkHCL(tokens); message != "" {
		c.errorf(at, "%s", message)
		return nil
	}
	file, diags := hclsyntax.ParseConfig(src.Data, src.Name, hcl.InitialPos)
	if diags.HasErrors() {
		c.hcl(diags, top)
		return nil
	}
	return file.Body.(*hclsyntax.Body)
}

// fileParts is the top level of a job file.
type fileParts struct {
	variables []declaration
	locals    []*hclsyntax.Attribute
	job       *hclsyntax.Block
}

func (c *collector) file(body *hclsyntax.Body, name string) fileParts {
	var f fileParts
	root := rootSchema()
	for _, a := range sortedAttributes(body) {
		c.errorf(a.NameRange, "unknown name %q at the top of the file; it may have job, variable, variables and locals", a.Name)
	}
	for _, b := range body.Blocks {
		switch b.Type {
		case "variable":
			if d, ok := c.declaration(b); ok {
				f.variables = append(f.variables, d)
			}
		case "variables":
			f.variables = append(f.variables, c.shortDeclarations(b)...)
		case "locals":
			f.locals = append(f.locals, c.onlyAttributes(b)...)
		case "job":
			if f.job != nil {
				c.errorf(b.DefRange(), "a file has one job; the first is on line %d", f.job.TypeRange.Start.Line)
				continue
			}
			f.job = b
		default:
			c.errorf(b.TypeRange, "unknown block %q at the top of the file%s", b.Type, didYouMean(b.Type, root.names()))
		}
	}
	if f.job == nil {
		c.also(hcl.Range{Filename: name, Start: hcl.InitialPos, End: hcl.InitialPos}, `the file has no job "name" { … }`)
	}
	return f
}

// onlyAttributes returns the attributes of a block that may have nothing else.
func (c *collector) onlyAttributes(b *hclsyntax.Block) []*hclsyntax.Attribute {
	if len(b.Labels) > 0 {
		c.errorf(b.LabelRanges[0], "%s takes no label", b.Type)
	}
	for _, inner := range b.Body.Blocks {
		c.errorf(inner.TypeRange, "%s holds names and values only, not blocks; write %s = …", b.Type, inner.Type)
	}
	return sortedAttributes(b.Body)
}
