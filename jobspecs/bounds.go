package jobspecs

import (
	"strings"

	"github.com/hashicorp/hcl/v2"
	"github.com/hashicorp/hcl/v2/hclsyntax"
)

// checkHCL refuses text that would make the parser or the evaluator recurse too deep. The parser calls itself for every bracket,
// every unary operator, every conditional and every template directive; the evaluator for every binary operator and index too. A
// Go stack that overflows ends the process, so both are counted here on the flat list of tokens.
func checkHCL(tokens hclsyntax.Tokens) (at hcl.Range, message string) {
	levels := []level{{}}
	for i, t := range tokens {
		top := &levels[len(levels)-1]
		switch t.Type {
		case hclsyntax.TokenOBrace, hclsyntax.TokenOBrack, hclsyntax.TokenOParen, hclsyntax.TokenOQuote, hclsyntax.TokenOHeredoc,
			hclsyntax.TokenTemplateInterp, hclsyntax.TokenTemplateControl:
			if t.Type == hclsyntax.TokenOBrack { // an index, perhaps
				top.operators++
			}
			if t.Type == hclsyntax.TokenTemplateControl {
				top.directive(tokens[i+1:])
			}
			levels = append(levels, level{opener: t.Type})
		case hclsyntax.TokenCBrace, hclsyntax.TokenCBrack, hclsyntax.TokenCParen, hclsyntax.TokenCQuote, hclsyntax.TokenCHeredoc,
			hclsyntax.TokenTemplateSeqEnd:
			if len(levels) > 1 {
				levels = levels[:len(levels)-1]
			}
		case hclsyntax.TokenComma, hclsyntax.TokenNewline:
			top.separator(t.Type)
		default:
			if isOperator(t.Type) {
				top.operators++
			}
		}
		if len(levels) > MaxNesting+1 || top.directives > MaxNesting {
			return t.Range, "blocks, brackets or templates are nested deeper than 64 levels"
		}
		if top.operators > MaxOperators {
			return t.Range, "the expression has more than 256 operators; split it with locals"
		}
	}
	return hcl.Range{}, ""
}

// level is what checkHCL counts between one pair of brackets.
type level struct {
	opener     hclsyntax.TokenType
	operators  int
	directives int // open %{if} and %{for}
}

// separator ends an expression, except for newlines where the parser skips them.
func (l *level) separator(t hclsyntax.TokenType) {
	skipped := l.opener == hclsyntax.TokenOParen || l.opener == hclsyntax.TokenOBrack ||
		l.opener == hclsyntax.TokenTemplateInterp || l.opener == hclsyntax.TokenTemplateControl
	if t == hclsyntax.TokenComma || !skipped {
		l.operators = 0
	}
}

// directive counts %{if} and %{for} up and their ends down.
func (l *level) directive(rest hclsyntax.Tokens) {
	if len(rest) == 0 {
		return
	}
	switch word := string(rest[0].Bytes); {
	case strings.HasPrefix(word, "end"):
		l.directives = max(0, l.directives-1)
	case word != "else":
		l.directives++
	}
}

func isOperator(t hclsyntax.TokenType) bool {
	switch t {
	case hclsyntax.TokenStar, hclsyntax.TokenSlash, hclsyntax.TokenPlus, hclsyntax.TokenMinus, hclsyntax.TokenPercent, hclsyntax.TokenAnd,
		hclsyntax.TokenOr, hclsyntax.TokenBang, hclsyntax.TokenQuestion:
		return true
	case hclsyntax.TokenEqualOp, hclsyntax.TokenNotEqual, hclsyntax.TokenLessThan, hclsyntax.TokenLessThanEq, hclsyntax.TokenGreaterThan,
		hclsyntax.TokenGreaterThanEq:
		return true
	}
	return false
}

// checkJSON finds the first bracket of JSON text that is nested deeper than MaxNesting; -1 when there is none.
func checkJSON(src []byte) int {
	depth, inString := 0, false
	for i := 0; i < len(src); i++ {
		switch c := src[i]; {
		case inString && c == '\\':
			i++
		case c == '"':
			inString = !inString
		case inString:
		case c == '{' || c == '[':
			if depth++; depth > MaxNesting {
				return i
			}
		case c == '}' || c == ']':
			depth--
		}
	}
	return -1
}
