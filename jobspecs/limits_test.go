package jobspecs

import (
	"fmt"
	"strings"
	"syscall"
	"testing"
	"time"
)

// job wraps what stands in a job.
func jobWith(body string) []byte {
	return []byte("job \"j\" {\n" + body + "\n  task \"t\" {\n    driver = \"exec\"\n  }\n}\n")
}

// TestLimits tries every limit one below, at and one above.
func TestLimits(t *testing.T) {
	groups := func(n int) []byte {
		return []byte("job \"j\" {\n" + strings.Repeat("group \"g%d\" {\ntask \"t\" {\ndriver = \"exec\"\n}\n}\n", n) + "}\n")
	}
	number := func(b []byte) []byte { // gives every %d a number of its own
		parts := strings.Split(string(b), "%d")
		var s strings.Builder
		for i, p := range parts {
			s.WriteString(p)
			if i < len(parts)-1 {
				fmt.Fprint(&s, i)
			}
		}
		return []byte(s.String())
	}
	dynamic := func(n, more int) []byte {
		port := "dynamic \"port\" {\nfor_each = concat(%s)\nlabels = [\"p${port.key}\"]\ncontent {}\n}\n"
		var ranges []string
		for ; n > 0; n -= more {
			ranges = append(ranges, fmt.Sprintf("range(%d)", min(n, more)))
		}
		return []byte("job \"j\" {\ngroup \"g\" {\nnetwork {\n" + fmt.Sprintf(port, strings.Join(ranges, ",")) + "}\ntask \"t\" {\ndriver = \"exec\"\n}\n}\n}\n")
	}
	meta := func(v string) []byte { return jobWith("  meta = { a = " + v + " }") }
	for _, c := range []struct {
		name    string
		limit   int
		make    func(n int) []byte
		message string // of the one above
	}{
		{"source", MaxSource, func(n int) []byte {
			b := jobWith("")
			return append(b, "#"+strings.Repeat("x", n-len(b)-2)+"\n"...)
		}, "the file has"},
		{"nesting", MaxNesting - 3, func(n int) []byte { // job, meta and jsonencode are levels too
			return meta("jsonencode(" + strings.Repeat("[", n) + strings.Repeat("]", n) + ")")
		}, "nested deeper"},
		{"templates", MaxNesting, func(n int) []byte {
			return meta(`"` + strings.Repeat("%{ if true }", n) + "x" + strings.Repeat("%{ endif }", n) + `"`)
		}, "nested deeper"},
		{"operators", MaxOperators, func(n int) []byte { return meta("1" + strings.Repeat(" + 1", n)) }, "operators"},
		{"unary", MaxOperators, func(n int) []byte { return meta(strings.Repeat("-", n) + "1") }, "operators"},
		{"variables", MaxNames, func(n int) []byte {
			return append(number([]byte("variables {\n"+strings.Repeat("v%d = 1\n", n)+"}\n")), jobWith("")...)
		}, "variables"},
		{"locals", MaxNames, func(n int) []byte {
			return append(number([]byte("locals {\n"+strings.Repeat("v%d = 1\n", n)+"}\n")), jobWith("")...)
		}, "locals"},
		{"groups", MaxGroups, func(n int) []byte { return number(groups(n)) }, "groups"},
		{"tasks", MaxTasks, func(n int) []byte {
			return number([]byte("job \"j\" {\ngroup \"g\" {\n" + strings.Repeat("task \"t%d\" {\ndriver = \"exec\"\nlogs {\nmax_files = 1\n}\n}\n", n) + "}\n}\n"))
		}, "tasks"},
		{"ports", 100, func(n int) []byte { return dynamic(n, 1000) }, "network.port"},
		{"for_each", MaxDynamic, func(n int) []byte {
			return jobWith("  dynamic \"ui\" {\n  for_each = concat(range(500), range(" + fmt.Sprint(n-500) + "))\n  content {}\n }\n")
		}, "at most 1000 blocks"},
		{"count", 10_000, func(n int) []byte {
			return []byte(fmt.Sprintf("job \"j\" {\ngroup \"g\" {\ncount = %d\ntask \"t\" {\ndriver = \"exec\"\n}\n}\n}\n", n))
		}, "count may be at most"},
		{"priority", 100, func(n int) []byte { return jobWith(fmt.Sprintf("  priority = %d", n)) }, "priority may be at most"},
		{"format width", MaxFormatWidth, func(n int) []byte { return meta(fmt.Sprintf(`format("%%%dd", 1)`, n)) }, "width"},
		{"regexp", MaxRegexpPattern, func(n int) []byte { return meta(`length(regexall("` + strings.Repeat("a", n) + `", "b"))`) }, "pattern"},
		{"yaml aliases", MaxYAMLAliases, func(n int) []byte {
			return meta(`jsonencode(yamldecode("- &a 1\n` + strings.Repeat(`- *a\n`, n) + `"))`)
		}, "aliases"},
		{"name", 128, func(n int) []byte {
			return []byte("job \"" + strings.Repeat("j", n) + "\" {\ntask \"t\" {\ndriver = \"exec\"\n}\n}\n")
		}, "128 bytes"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			for _, n := range []int{c.limit - 1, c.limit} {
				if _, ds := Parse(Source{Name: "j", Data: c.make(n)}, Inputs{}); ds.HasErrors() {
					t.Errorf("%d of %d is refused: %.300s", n, c.limit, ds.Error())
				}
			}
			if _, ds := Parse(Source{Name: "j", Data: c.make(c.limit + 1)}, Inputs{}); !strings.Contains(ds.Error(), c.message) {
				t.Errorf("%d of %d: got %.300q, want %q in it", c.limit+1, c.limit, ds.Error(), c.message)
			}
		})
	}
}

// TestJobLimit finds out what a job has beside its text from the message, then tries the limit.
func TestJobLimit(t *testing.T) {
	try := func(n int) string { // n bytes of text, by way of locals, in two values
		half := fmt.Sprintf("\"%s%s\"", strings.Repeat("${local.x}", n/2>>10), strings.Repeat("x", n/2&1023))
		rest := fmt.Sprintf("\"%s%s\"", strings.Repeat("${local.x}", (n-n/2)>>10), strings.Repeat("x", (n-n/2)&1023))
		_, ds := Parse(Source{Name: "j", Data: []byte("locals {\n  x = \"" + strings.Repeat("x", 1<<10) + "\"\n}\njob \"j\" {\n  task \"t\" {\n    driver = \"exec\"\n" +
			"    config {\n      a = " + half + "\n      b = " + rest + "\n    }\n  }\n}\n")}, Inputs{})
		return ds.Error()
	}
	var size int
	if _, err := fmt.Sscanf(try(MaxJob), "j:4:1: the job has %d bytes", &size); err != nil {
		t.Fatal(try(MaxJob), err)
	}
	limit := MaxJob - (size - MaxJob)
	for n := limit - 1; n <= limit+1; n++ {
		if got, want := try(n) != "", n > limit; got != want {
			t.Errorf("%d of %d: refused is %v: %s", n, limit, got, try(n))
		}
	}
}

func TestJSONLimits(t *testing.T) {
	deep := func(n int) []byte {
		return []byte(`{"ID": "j", "TaskGroups": [{"Name": "g", "Tasks": [{"Name": "t", "Driver": "exec", "Config": {"a": ` +
			strings.Repeat("[", n) + strings.Repeat("]", n) + `}}]}]}`)
	}
	long := func(n int) []byte {
		b := string(deep(1))
		return []byte(b + strings.Repeat(" ", n-len(b)))
	}
	for _, c := range []struct {
		name  string
		limit int
		make  func(int) []byte
	}{{"nesting", MaxNesting - 6, deep}, {"source", MaxSource, long}} {
		for n := c.limit - 1; n <= c.limit+1; n++ {
			_, ds := ParseJSON(c.make(n))
			if got, want := ds.HasErrors(), n > c.limit; got != want {
				t.Errorf("%s %d of %d: error is %v: %.200s", c.name, n, c.limit, got, ds.Error())
			}
		}
	}
}

// bombs are short texts that ask for far more work or memory than there is.
func bombs() map[string]string {
	doubling := func(n int, f string) string {
		s := "locals {\n  a0 = \"xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx\"\n"
		for i := range n {
			s += fmt.Sprintf("  a%d = "+f+"\n", i+1, fmt.Sprintf("local.a%d", i))
		}
		return s + "}\n"
	}
	use := func(expr string) string { return string(jobWith("  meta = { a = " + expr + " }")) }
	return map[string]string{
		"doubling text":    doubling(60, `"${%[2]s}${%[2]s}"`) + use("local.a60"),
		"doubling lists":   doubling(60, "[%[2]s, %[2]s]") + use("jsonencode(local.a60)"),
		"doubling objects": doubling(60, "{ a = %[2]s, b = %[2]s }") + use("jsonencode(local.a60)"),
		"doubling compare": doubling(60, "[%[2]s, %[2]s]") + use("local.a60 == local.a60 ? 1 : 2"),
		"wide text":        doubling(15, `"${%[2]s}${%[2]s}"`) + use(`"`+strings.Repeat("${local.a15}", 5000)+`"`),
		"wide list":        doubling(12, `"${%[2]s}${%[2]s}"`) + use(`jsonencode([`+strings.Repeat("local.a12,", 20000)+`])`),
		"nested for":       use("length([for a in range(1024) : [for b in range(1024) : [for c in range(1024) : [for d in range(1024) : 1]]]])"),
		"for with ballast": use("length([for a in range(1024) : [for b in range(1024) : [" + strings.Repeat("1,", 5000) + "][0]]])"),
		"for in template":  use(`"%{ for a in range(1024) }%{ for b in range(1024) }%{ for c in range(1024) }xxxxxxxx%{ endfor }%{ endfor }%{ endfor }"`),
		"huge number":      use("1e999999999"),
		"huge text":        use(`"${1e99999999}"`),
		"huge product":     doubling(0, "%s") + use("1e9999 * 1e9999 * 1e99999999"),
		"huge modulo":      use(`"1e999999999" % 7`),
		"huge floor":       use(`floor("1e999999999")`),
		"huge tostring":    use(`tostring(tonumber("1e999999999"))`),
		"huge key":         use("jsonencode({ (1e999999999) = 1 })"),
		"huge index":       use("{ a = 1 }[1e999999999]"),
		"huge format":      use(`format("%1000000000d", 1)`),
		"huge %d":          use(`format("%d", "1e999999999")`),
		"huge formatlist":  use(`join("", formatlist("%d", ["1e999999999"]))`),
		"huge conditional": use(`true ? 1e999999999 : "x"`),
		"huge yaml key":    use(`jsonencode(yamldecode("1e999999999: 1"))`),
		"huge json":        use(`jsonencode(jsondecode("1e999999999"))`),
		"huge indent":      use(`indent(1000000000, "a\nb")`),
		"negative indent":  use(`indent(-1, "a\nb")`),
		"huge join":        doubling(15, `"${%[2]s}${%[2]s}"`) + use("length(join(local.a15, [for i in range(1024) : tostring(i)]))"),
		"huge replace":     doubling(14, `"${%[2]s}${%[2]s}"`) + use(`replace(local.a14, "x", local.a14)`),
		"huge regex":       doubling(14, `"${%[2]s}${%[2]s}"`) + use(`regex_replace(local.a14, ".*", "`+strings.Repeat("$0", 100)+`")`),
		"huge product set": use("length(setproduct(range(1024), range(1024), range(1024)))"),
		"yaml laughs":      use(`jsonencode(yamldecode("` + strings.Repeat(`- &a [*a, *a]\n`, 20) + `"))`),
		"try tower":        use(strings.Repeat("try(", 50) + "nope.x" + strings.Repeat(", 1)", 50)),
		"bcrypt":           use(`bcrypt("x", 31)`),
		"dynamic tower": "job \"j\" {\n" + strings.Repeat("dynamic \"group\" {\nfor_each = range(900)\nlabels = [\"g${group.key}\"]\ncontent {\n", 1) +
			strings.Repeat("dynamic \"task\" {\nfor_each = range(900)\nlabels = [\"t${task.key}\"]\ncontent {\n", 1) +
			"config {\n" + strings.Repeat("dynamic \"x\" {\nfor_each = range(900)\ncontent {\n", 10) +
			strings.Repeat("}\n", 10*2+1) + "}\n}\n}\n}\n}\n",
		"brackets":      strings.Repeat("[", 1<<16),
		"parentheses":   "a = " + strings.Repeat("(", 1<<16),
		"braces":        strings.Repeat("a {\n", 1<<15),
		"unary":         "a = " + strings.Repeat("!", 1<<16),
		"sums":          "a = 1" + strings.Repeat("+1", 1<<15),
		"conditionals":  "a = " + strings.Repeat("b?c:", 1<<14) + "d",
		"indexes":       "a = b" + strings.Repeat("[c]", 1<<14),
		"splats":        "a = b" + strings.Repeat("[*]", 1<<14),
		"templates":     `a = "` + strings.Repeat(`${"`, 1<<14),
		"directives":    `a = "` + strings.Repeat(`%{if true}`, 1<<13) + `"`,
		"JSON brackets": `{"ID":` + strings.Repeat("[", 1<<16),
		"JSON number":   `{"ID": "j", "Priority": ` + strings.Repeat("9", 1<<16) + `}`,
		"JSON exponent": `{"ID": "j", "Priority": 1e999999999}`,
		"errors":        strings.Repeat("a {}\n", 1<<14),
		"bad lines":     strings.Repeat("§\n", 1<<14),
	}
}

// cpuTime is what this process has used; wall time would measure what else the machine does.
func cpuTime(t *testing.T) time.Duration {
	t.Helper()
	var use syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &use); err != nil {
		t.Fatal(err)
	}
	return time.Duration(use.Utime.Nano() + use.Stime.Nano())
}

// TestBombs fails when one of them is taken, or takes long. The bound is generous, for the race detector.
func TestBombs(t *testing.T) {
	for name, text := range bombs() {
		t.Run(name, func(t *testing.T) {
			start := cpuTime(t)
			j, ds := Parse(Source{Name: "bomb", Data: []byte(text)}, Inputs{})
			if j != nil && !strings.HasPrefix(name, "try") {
				t.Errorf("it was taken: %.200v", j.Meta)
			}
			if len(ds) > MaxDiagnostics+1 {
				t.Errorf("it got %d diagnostics", len(ds))
			}
			took := cpuTime(t) - start
			t.Logf("%v: %.150s", took.Round(time.Millisecond), ds.Error())
			if took > 20*time.Second {
				t.Errorf("it took %v", took)
			}
		})
	}
}
