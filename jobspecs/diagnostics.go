package jobspecs

import (
	"bytes"
	"cmp"
	"fmt"
	"io"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/hashicorp/hcl/v2"
	"github.com/hashicorp/hcl/v2/hclsyntax"
)

// Severity tells errors from warnings.
type Severity string

// The severities of a Diagnostic.
const (
	Error   Severity = "error"
	Warning Severity = "warning"
)

// Diagnostic is one thing to say about a job file, with its place.
type Diagnostic struct {
	Severity Severity
	File     string
	Line     int    // from 1
	Column   int    // from 1, in characters
	Message  string // one sentence, lower case
	Detail   string `json:",omitempty"` // what to do next, or more about it
	Source   string `json:",omitempty"` // the line of the file, or the part of it around the place
	Caret    int    `json:",omitempty"` // position in Source of the first character meant, from 0, in characters
	Width    int    `json:",omitempty"` // how many characters of Source are meant
}

// Diagnostics is everything there is to say about a job file, in the order of the file.
type Diagnostics []Diagnostic

// HasErrors reports whether anything is worse than a warning.
func (ds Diagnostics) HasErrors() bool {
	return slices.ContainsFunc(ds, func(d Diagnostic) bool { return d.Severity == Error })
}

// Error returns the errors, one a line. Warnings are left out.
func (ds Diagnostics) Error() string {
	var lines []string
	for _, d := range ds {
		if d.Severity == Error {
			lines = append(lines, d.String())
		}
	}
	return strings.Join(lines, "\n")
}

// String returns "file:line:column: message", without the source line.
func (d Diagnostic) String() string {
	s := d.place() + " " + d.Message
	if d.Detail != "" {
		s += " (" + strings.TrimSuffix(d.Detail, ".") + ")"
	}
	return s
}

// place says where the diagnostic is. A value of the command line or the environment has no lines to count: the source line below
// shows it whole.
func (d Diagnostic) place() string {
	for _, prefix := range []string{"-var", "DROVER_VAR_", "NOMAD_VAR_"} {
		if d.File == prefix || strings.HasPrefix(d.File, prefix) && !strings.HasPrefix(d.File, "-var-") {
			return d.File + ":"
		}
	}
	return fmt.Sprintf("%s:%d:%d:", d.File, d.Line, d.Column)
}

// collector gathers diagnostics while a job is read.
type collector struct {
	files   map[string][]byte
	secrets []hcl.Range // values whose lines are not shown
	list    Diagnostics
	errors  []hcl.Range // of the errors so far
	more    int         // errors beyond MaxDiagnostics
	examine Check
	batch   bool // the job's defaults are those of batch jobs
	room    *workroom
}

func newCollector() *collector {
	return &collector{files: map[string][]byte{}, room: workrooms().Get().(*workroom)}
}

// errorf adds an error unless one is known for the same place: what follows from an error says nothing new.
func (c *collector) errorf(at hcl.Range, format string, args ...any) {
	c.error(at, "", format, args...)
}

// error is errorf with a detail.
func (c *collector) error(at hcl.Range, detail, format string, args ...any) {
	if !c.known(at) {
		c.add(Error, at, fmt.Sprintf(format, args...), detail)
	}
}

// also adds an error even where another one is known for the same place.
func (c *collector) also(at hcl.Range, format string, args ...any) {
	message, where := fmt.Sprintf(format, args...), c.located(at)
	if !slices.ContainsFunc(c.list, func(d Diagnostic) bool {
		return d.Message == message && d.File == where.Filename && d.Line == where.Start.Line && d.Column == where.Start.Column
	}) {
		c.add(Error, at, message, "")
	}
}

func (c *collector) warnf(at hcl.Range, format string, args ...any) {
	c.add(Warning, at, fmt.Sprintf(format, args...), "")
}

// hcl adds what the HCL library says, in our form.
func (c *collector) hcl(ds hcl.Diagnostics, fallback hcl.Range) {
	for _, d := range ds {
		at := fallback
		if d.Subject != nil {
			at = *d.Subject
		}
		if d.Severity != hcl.DiagError || c.known(at) {
			continue
		}
		message, detail := lowerFirst(d.Summary), d.Detail
		if call, ok := hcl.DiagnosticExtra[hclsyntax.FunctionCallDiagExtra](d); ok && call.FunctionCallError() != nil {
			message, detail = callError(call.CalledFunctionName(), call.FunctionCallError()), ""
		}
		c.add(Error, at, message, detail)
	}
}

// callError says that a function failed. The first line is enough: a function that panicked says where in the rest.
func callError(name string, err error) string {
	text, _, _ := strings.Cut(err.Error(), "\n")
	return name + ": " + text
}

func (c *collector) hasErrors() bool { return len(c.errors) > 0 }

// known reports whether an error overlaps at.
func (c *collector) known(at hcl.Range) bool { return slices.ContainsFunc(c.errors, overlaps(at)) }

func overlaps(at hcl.Range) func(hcl.Range) bool {
	return func(r hcl.Range) bool { return r.Filename == at.Filename && (r.Overlaps(at) || r.Start == at.Start) }
}

// line returns the line that at begins in, from 1.
func (c *collector) line(at hcl.Range) int { return c.located(at).Start.Line }

// located fills in the line and column of a range that has only bytes, as those of JSON have.
func (c *collector) located(at hcl.Range) hcl.Range {
	src := c.files[at.Filename]
	if at.Start.Line == 0 {
		before := src[:min(at.Start.Byte, len(src))]
		at.Start.Line = bytes.Count(before, []byte("\n")) + 1
		at.Start.Column = utf8.RuneCount(before[bytes.LastIndexByte(before, '\n')+1:]) + 1
	}
	return at
}

func (c *collector) add(sev Severity, at hcl.Range, message, detail string) {
	if sev == Error {
		if len(c.errors) >= MaxDiagnostics {
			c.more++
			return
		}
		c.errors = append(c.errors, at)
	} else if len(c.list) >= 4*MaxDiagnostics {
		return
	}
	at = c.located(at)
	d := Diagnostic{Severity: sev, File: at.Filename, Line: at.Start.Line, Column: max(1, at.Start.Column), Message: message, Detail: detail}
	if src, ok := c.files[at.Filename]; ok && !slices.ContainsFunc(c.secrets, overlaps(at)) {
		d.Source, d.Caret, d.Width = sourceLine(src, at)
	}
	c.list = append(c.list, d)
}

// take returns what was gathered, in the order of the files and their lines.
func (c *collector) take() Diagnostics {
	order := map[string]int{}
	for _, d := range c.list {
		if _, ok := order[d.File]; !ok {
			order[d.File] = len(order)
		}
	}
	slices.SortStableFunc(c.list, func(a, b Diagnostic) int {
		return cmp.Or(cmp.Compare(order[a.File], order[b.File]), cmp.Compare(a.Line, b.Line), cmp.Compare(a.Column, b.Column))
	})
	if c.more > 0 {
		last := c.list[len(c.list)-1]
		c.list = append(c.list, Diagnostic{Severity: Error, File: last.File, Line: last.Line, Column: last.Column,
			Message: fmt.Sprintf("there are %d more errors; correct these first", c.more)})
		c.more = 0
	}
	return c.list
}

// sourceLine returns the line of src that at begins in, or the part of it around at when it is long.
func sourceLine(src []byte, at hcl.Range) (line string, caret, width int) {
	const before, after = 60, 60
	start := min(max(0, at.Start.Byte), len(src))
	from := bytes.LastIndexByte(src[:start], '\n') + 1
	to := len(src)
	if i := bytes.IndexByte(src[start:], '\n'); i >= 0 {
		to = start + i
	}
	end := min(max(at.End.Byte, start+1), to)
	if start-from > before {
		for from = start - before; from < start && !utf8.RuneStart(src[from]); from++ {
		}
	}
	if to-start > after+before {
		for to = start + after + before; to > start && to < len(src) && !utf8.RuneStart(src[to]); to-- {
		}
		end = min(end, to)
	}
	text := func(b []byte) string {
		return strings.Map(func(r rune) rune {
			if r == '\t' {
				return ' '
			}
			if !unicode.IsPrint(r) {
				return utf8.RuneError
			}
			return r
		}, string(b))
	}
	line = text(bytes.TrimRight(src[from:to], "\r"))
	caret = utf8.RuneCountInString(text(src[from:start]))
	if end > start {
		width = utf8.RuneCount(src[start:end])
	}
	return line, caret, max(1, width)
}

func lowerFirst(s string) string {
	r, n := utf8.DecodeRuneInString(s)
	if next, _ := utf8.DecodeRuneInString(s[n:]); unicode.IsUpper(next) { // "JSON …"
		return s
	}
	return string(unicode.ToLower(r)) + s[n:]
}

// WriteTo writes the diagnostics as a compiler does: place, message, source line, caret. Details are wrapped at width columns
// (0 means 100); with color, for a terminal.
func (ds Diagnostics) WriteTo(w io.Writer, color bool, width int) error {
	if width <= 0 {
		width = 100
	}
	paint := func(code, s string) string {
		if !color {
			return s
		}
		return "\x1b[" + code + "m" + s + "\x1b[0m"
	}
	var b strings.Builder
	for i, d := range ds {
		if i > 0 {
			b.WriteByte('\n')
		}
		code := "1;31"
		if d.Severity == Warning {
			code = "1;33"
		}
		fmt.Fprintf(&b, "%s %s %s\n", paint("1", d.place()), paint(code, string(d.Severity)+":"),
			paint("1", d.Message))
		if d.Source != "" {
			fmt.Fprintf(&b, "%6d | %s\n", d.Line, d.Source)
			fmt.Fprintf(&b, "       | %s%s\n", strings.Repeat(" ", d.Caret), paint(code, strings.Repeat("^", d.Width)))
		}
		for _, line := range wrap(d.Detail, width-9) {
			fmt.Fprintf(&b, "       = %s\n", line)
		}
	}
	_, err := io.WriteString(w, b.String())
	return err
}

// wrap breaks text into lines of at most width characters, at spaces.
func wrap(text string, width int) []string {
	var lines []string
	line := ""
	for _, word := range strings.Fields(text) {
		if line != "" && utf8.RuneCountInString(line)+1+utf8.RuneCountInString(word) > width {
			lines = append(lines, line)
			line = ""
		}
		if line != "" {
			line += " "
		}
		line += word
	}
	if line != "" {
		lines = append(lines, line)
	}
	return lines
}
