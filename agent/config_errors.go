package agent

import (
	"errors"
	"fmt"
	"strings"

	"github.com/hashicorp/hcl/v2"
)

// place is file:line:column.
func place(r hcl.Range) string {
	return fmt.Sprintf("%s:%d:%d", r.Filename, r.Start.Line, r.Start.Column)
}

// report takes over the parser's diagnostics.
func (d *decoder) report(diags hcl.Diagnostics) {
	for _, diag := range diags {
		text := diag.Summary
		if diag.Detail != "" {
			text += ": " + diag.Detail
		}
		var at hcl.Range
		if diag.Subject != nil {
			at = *diag.Subject
		}
		if diag.Severity == hcl.DiagWarning {
			d.warnings = append(d.warnings, place(at)+": "+text)
			continue
		}
		d.problem(at, "%s", lower(text))
	}
}

// problem notes what is wrong, with the source line and the place in it.
func (d *decoder) problem(at hcl.Range, format string, args ...any) {
	text := place(at) + ": " + fmt.Sprintf(format, args...)
	if f := d.parser.Files()[at.Filename]; f != nil {
		if line, ok := sourceLine(f.Bytes, at.Start.Line); ok {
			number := fmt.Sprintf("  %d | ", at.Start.Line)
			text += "\n" + number + line + "\n" + mark(number, line, at)
		}
	}
	d.problems = append(d.problems, text)
}

// mark underlines a range in the line above, keeping tabs so that it stands where the eye looks.
func mark(number, line string, at hcl.Range) string {
	runes := []rune(line)
	before := runes[:min(at.Start.Column-1, len(runes))]
	width := len(runes) - len(before)
	if at.End.Line == at.Start.Line {
		width = at.End.Column - at.Start.Column
	}
	blanks := strings.Map(func(r rune) rune {
		if r == '\t' {
			return r
		}
		return ' '
	}, string(before))
	return strings.Repeat(" ", len(number)-2) + "| " + blanks + strings.Repeat("^", max(1, width))
}

func sourceLine(data []byte, number int) (string, bool) {
	lines := strings.Split(string(data), "\n")
	if number < 1 || number > len(lines) {
		return "", false
	}
	line := strings.TrimRight(lines[number-1], "\r")
	if len(line) > 200 {
		return "", false // a line of a machine's making
	}
	return line, true
}

func lower(s string) string {
	if s == "" {
		return s
	}
	return strings.ToLower(s[:1]) + s[1:]
}

// err is all that is wrong; nil when nothing is.
func (d *decoder) err() error {
	if len(d.problems) == 0 {
		return nil
	}
	return errors.New("read configuration:\n" + strings.Join(d.problems, "\n"))
}
