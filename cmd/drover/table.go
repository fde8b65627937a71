package main

import (
	"fmt"
	"io"
	"strings"
	"unicode"
	"unicode/utf8"
)

// screen is where answers for people go, with what it can show. After the flags are read app.out is one.
type screen struct {
	io.Writer
	terminal bool
	width    int  // columns of the terminal; 0 means that nothing bounds a line
	color    bool // whether words may have colours
	lasting  bool // lines stay when newer ones come below: no ages, which would be old at once
}

// Colours of a terminal, by their numbers in ECMA-48.
const (
	colorRed    = "31"
	colorGreen  = "32"
	colorYellow = "33"
	colorBold   = "1"
)

// paint gives a text a colour where the screen has any.
func paint(w io.Writer, code, text string) string {
	if s, ok := w.(*screen); !ok || !s.color || code == "" || text == "" {
		return text
	}
	return "\033[" + code + "m" + text + "\033[0m"
}

// statusColumns are the columns whose words have a meaning for the eye.
const statusColumns = "|Status|State|Client Status|Eligibility|Healthy|Desired|"

// wordColor is the colour of a word of a status column, "" for none.
func wordColor(cell string) string {
	word, _, _ := strings.Cut(cell, " ")
	switch word {
	case "running", "ready", "alive", "complete", "successful", "healthy", "leader":
		return colorGreen
	case "pending", "initializing", "unknown", "disconnected", "suspect", "ineligible", "blocked", "paused":
		return colorYellow
	case "failed", "lost", "down", "dead", "unhealthy":
		return colorRed
	}
	return ""
}

const (
	columnGap = 2
	// leastColumn is how narrow a column may become when a table is wider than the terminal.
	leastColumn = 12
)

// table prints rows in aligned columns under a header, whose columns are separated by "|". On a terminal that is narrower than the
// table the widest columns are shortened.
func table(w io.Writer, header string, rows [][]string) error {
	heads := strings.Split(header, "|")
	widths := make([]int, len(heads))
	for i, h := range heads {
		widths[i] = utf8.RuneCountInString(h)
	}
	clean := make([][]string, len(rows))
	for i, r := range rows {
		clean[i] = make([]string, len(heads))
		for j := range heads {
			if j < len(r) {
				clean[i][j] = oneLine(r[j])
				widths[j] = max(widths[j], utf8.RuneCountInString(clean[i][j]))
			}
		}
	}
	if s, ok := w.(*screen); ok && s.width > 0 {
		narrow(widths, s.width)
	}
	line := func(cells []string, color func(i int) string) error {
		var b strings.Builder
		for i, cell := range cells {
			cell = cut(cell, widths[i])
			gap := widths[i] - utf8.RuneCountInString(cell) + columnGap
			b.WriteString(paint(w, color(i), cell))
			if i < len(cells)-1 {
				b.WriteString(strings.Repeat(" ", gap))
			}
		}
		_, err := fmt.Fprintln(w, strings.TrimRight(b.String(), " "))
		return err
	}
	if err := line(heads, func(int) string { return colorBold }); err != nil {
		return err
	}
	for _, r := range clean {
		if err := line(r, func(i int) string { return cellColor(heads[i], r[i]) }); err != nil {
			return err
		}
	}
	return nil
}

func cellColor(head, cell string) string {
	if !strings.Contains(statusColumns, "|"+head+"|") {
		return ""
	}
	return wordColor(cell)
}

// narrow takes from the widest columns until a table fits, but never makes one narrower than leastColumn.
func narrow(widths []int, limit int) {
	total := columnGap * (len(widths) - 1)
	for _, n := range widths {
		total += n
	}
	for total > limit {
		widest := 0
		for i, n := range widths {
			if n > widths[widest] {
				widest = i
			}
		}
		if widths[widest] <= leastColumn {
			return
		}
		widths[widest]--
		total--
	}
}

// cut shortens a text to so many characters.
func cut(s string, width int) string {
	if utf8.RuneCountInString(s) <= width {
		return s
	}
	return string([]rune(s)[:max(0, width-1)]) + "…"
}

// oneLine makes a text safe for a cell: what a job or a task says of itself must neither break a row nor steer the terminal.
func oneLine(s string) string {
	return strings.Map(func(r rune) rune {
		switch {
		case r == '\n' || r == '\t' || r == '\r':
			return ' '
		case unicode.IsControl(r):
			return unicode.ReplacementChar
		}
		return r
	}, s)
}

// facts prints "name = value" lines, aligned.
func facts(w io.Writer, pairs ...string) error {
	width := 0
	for i := 0; i < len(pairs); i += 2 {
		width = max(width, len(pairs[i]))
	}
	for i := 0; i+1 < len(pairs); i += 2 {
		value := oneLine(pairs[i+1])
		if _, err := fmt.Fprintf(w, "%-*s = %s\n", width, pairs[i], paint(w, cellColor(pairs[i], value), value)); err != nil {
			return err
		}
	}
	return nil
}
