package jobspecs

import (
	"bytes"
	"fmt"
	"os"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/drover-io/drover/state"
)

func TestFieldsAreWellFormed(t *testing.T) {
	types := []Type{TypeString, TypeNumber, TypeBool, TypeDuration, TypeMiB, TypeMHz, TypeList, TypeMap, TypeFree, TypeBlock, TypeBlocks, TypeLabelled}
	seen := map[string]bool{}
	for _, f := range Fields() {
		if seen[f.Path] {
			t.Errorf("%s is there twice", f.Path)
		}
		seen[f.Path] = true
		if !slices.Contains(types, f.Type) {
			t.Errorf("%s has the unknown type %q", f.Path, f.Type)
		}
		if !slices.Contains([]Status{Works, Warns, Quiet, Refused}, f.Status) {
			t.Errorf("%s has the unknown status %q", f.Path, f.Status)
		}
		if f.Meaning == "" {
			t.Errorf("%s has no meaning", f.Path)
		}
		if i := strings.LastIndexByte(f.Path, '.'); i >= 0 && !seen[f.Path[:i]] {
			t.Errorf("%s stands before its block", f.Path)
		}
		for _, batch := range []bool{false, true} {
			if _, ok := f.fallback(batch); f.Status == Works && f.Default != "" && f.Default != "the label" && !ok {
				t.Errorf("%s has the default %q, which it does not take", f.Path, f.Default)
			}
		}
	}
}

// TestJSONNames fails when two names of one block have the same JSON name: one of them could not be read.
func TestJSONNames(t *testing.T) {
	var visit func(s *schema)
	visit = func(s *schema) {
		owner := map[string]string{}
		claim := func(f *Field) {
			for _, j := range f.JSON {
				if o, ok := owner[j]; ok {
					t.Errorf("%s: %s and %s are both %s in JSON", s.Path, o, f.Path, j)
				}
				owner[j] = f.Path
			}
		}
		for _, f := range s.attrs {
			claim(f)
		}
		for _, b := range s.blocks {
			claim(&b.Field)
			visit(b)
		}
	}
	visit(rootSchema())
}

// TestFieldsCoverState fails when a field of state.Job has no row that works, or a row that works no field.
func TestFieldsCoverState(t *testing.T) {
	job := rootSchema().blocks["job"]
	group := job.blocks["group"]
	task := group.blocks["task"]
	for _, c := range []struct {
		of any
		s  *schema
	}{
		{state.Job{}, job}, {state.TaskGroup{}, group}, {state.Task{}, task}, {state.Resources{}, task.blocks["resources"]},
		{state.Constraint{}, task.blocks["constraint"]}, {state.Affinity{}, job.blocks["affinity"]}, {state.Spread{}, group.blocks["spread"]},
		{state.SpreadTarget{}, job.blocks["spread"].blocks["target"]}, {state.RequestedDevice{}, task.blocks["resources"].blocks["device"]}, {state.Network{}, group.blocks["network"]},
		{state.Port{}, group.blocks["network"].blocks["port"]}, {state.RestartPolicy{}, group.blocks["restart"]},
		{state.ReschedulePolicy{}, group.blocks["reschedule"]}, {state.UpdateStrategy{}, group.blocks["update"]},
		{state.EphemeralDisk{}, group.blocks["ephemeral_disk"]}, {state.LogConfig{}, task.blocks["logs"]},
	} {
		ty := reflect.TypeOf(c.of)
		for i := range ty.NumField() {
			name := ty.Field(i).Name
			own, ok := c.s.json[name]
			if name == c.s.LabelKey {
				continue
			}
			if !ok || c.s.attrs[own] != nil && c.s.attrs[own].Status != Works || c.s.blocks[own] != nil && c.s.blocks[own].Status != Works {
				t.Errorf("%s.%s has no row that works", ty.Name(), name)
			}
		}
		for own, f := range c.s.attrs {
			if _, found := ty.FieldByName(append(f.JSON, "-")[0]); f.Status == Works && len(f.JSON) > 0 && !found {
				t.Errorf("%s works but state.%s has no %s", f.Path, ty.Name(), own)
			}
		}
	}
}

const docPage = "../docs/jobspec.md"

// TestDocPage keeps docs/jobspec.md equal to the table; -rewrite writes it.
func TestDocPage(t *testing.T) {
	want := docText()
	if *rewrite {
		if err := os.WriteFile(docPage, want, 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	got, err := os.ReadFile(docPage)
	if err != nil || !bytes.Equal(got, want) {
		t.Errorf("%s is stale (%v): run go test ./jobspecs -run DocPage -rewrite", docPage, err)
	}
}

func docText() []byte {
	var b bytes.Buffer
	b.WriteString(`# The job file

A job file says in HCL what should run. Names, blocks and defaults are those of Nomad, so that job files which people already have
keep working. This page is written from the table that the parser reads (` + "`jobspecs/fields.txt`" + `): what stands here is what it does.

` + "```hcl" + `
`)
	b.Write(bytes.TrimSpace(Example()))
	b.WriteString("\n```\n\n" + docProse)
	for _, section := range []struct {
		title  string
		status Status
	}{{"What works", Works}, {"What is accepted and ignored", Warns}, {"What is known and refused", Refused}} {
		docSection(&b, section.title, section.status)
	}
	b.WriteString("## Functions\n\n")
	b.WriteString(strings.Join(Functions(), ", ") + ".\n")
	return b.Bytes()
}

const docProse = `Words used below. **Where** names the blocks that a block may stand in. A *duration* is text such as ` + "`\"1h30m\"`" + `; a number of MiB or
MHz may be text with a unit (` + "`\"1.5GiB\"`, `\"500MB\"`, `\"2GHz\"`" + `); a *map* may be written as a block or as an attribute, and the attribute form
takes any text as a name. ` + "`null`" + ` is the same as leaving a name out. ` + "`dynamic`" + ` blocks work everywhere within a job.

- **Variables** come from, the last wins: the default, the environment (` + "`NOMAD_VAR_name`, then `DROVER_VAR_name`" + `), files of
  ` + "`name = value`" + ` in order, the command line.
- **What only the node knows** stays as it is written and is filled in there: ` + "`${attr.…}`, `${node.…}`, `${meta.…}`, `${env[\"…\"]}`," + `
  ` + "`${NOMAD_…}`, `${DROVER_…}`" + `. Nothing can be decided by it while the file is read.
- **Inheritance**, attribute by attribute: update and reschedule from the job to its groups, restart from a group to its tasks.
- **Constraints**: ` + "`distinct_hosts`, `distinct_property`, `regexp`, `version`, `semver`, `set_contains`, `set_contains_any`" + ` may be written as an
  attribute that holds the value, in place of operator and value.
- **JSON**: a text that begins with ` + "`{`" + ` is read as the JSON of the API; its names are in the column JSON, durations are nanoseconds or text.
- **Limits**: a file of 1 MiB, and a job of 1 MiB once everything is filled in; 64 levels of nesting; 256 operators in an expression; 100
  groups, 20 tasks in a group, 10,000 copies of a group; 1,000 variables and 1,000 locals; 1,000 blocks made by a dynamic block. Work that
  evaluation may do is bounded too, so that no short file takes all memory.

`

func docSection(b *bytes.Buffer, title string, status Status) {
	fmt.Fprintf(b, "## %s\n\n", title)
	if status == Works {
		b.WriteString("| Name | Where | Type | Default | JSON | Meaning |\n|---|---|---|---|---|---|\n")
	} else {
		b.WriteString("| Name | Where | Why, or what it is |\n|---|---|---|\n")
	}
	for _, f := range Fields() {
		if f.Status != status || f.JSONOnly() {
			continue
		}
		if status == Works {
			fmt.Fprintf(b, "| `%s` | %s | %s | %s | %s | %s |\n", f.Path, docScope(f.Scope), docType(f), docDefault(f), strings.Join(f.JSON, ", "), docCell(f.Meaning))
			continue
		}
		why := f.Meaning
		if f.Note != "" {
			why = f.Note
		}
		fmt.Fprintf(b, "| `%s` | %s | %s |\n", f.Path, docScope(f.Scope), docCell(why))
	}
	b.WriteString("\n")
}

func docCell(s string) string { return strings.ReplaceAll(s, "|", "\\|") }

func docScope(s string) string {
	var where []string
	for letter, name := range map[string]string{"F": "file", "J": "job", "G": "group", "T": "task", "D": "device"} {
		if strings.Contains(s, letter) {
			where = append(where, name)
		}
	}
	slices.Sort(where)
	return strings.Join(where, ", ")
}

func docType(f Field) string {
	s := string(f.Type)
	switch {
	case len(f.Words) > 20:
		s += ", a name such as " + f.Words[0]
	case len(f.Words) > 0:
		s += ": " + docCell(strings.Join(f.Words, ", "))
	case f.Min != nil && f.Max != nil:
		s += fmt.Sprintf(", %d to %d", *f.Min, *f.Max)
	case f.Min != nil:
		s += fmt.Sprintf(", at least %d", *f.Min)
	}
	if f.Required {
		s += ", required"
	}
	return s
}

func docDefault(f Field) string {
	if f.Batch != "" {
		return fmt.Sprintf("%s; batch jobs: %s", f.Default, f.Batch)
	}
	return f.Default
}
