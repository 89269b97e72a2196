package main

import (
	"go/ast"
	"go/parser"
	"go/token"
	"strconv"
	"strings"
)

// mutant is one small breakage: a text that replaces a part of a file.
type mutant struct {
	file string // from the root of the module
	line int
	// start and end are byte offsets.
	start, end int
	old, text  string
	context    string // the line that it is in
}

// name identifies a mutant as long as its line does not change. The line may
// move.
func (m *mutant) name() string {
	return m.file + ": " + m.context + ": " + strconv.Quote(m.old) + " becomes " + strconv.Quote(m.text)
}

// apply returns the broken file.
func (m *mutant) apply(source []byte) []byte {
	broken := append([]byte(nil), source[:m.start]...)
	return append(append(broken, m.text...), source[m.end:]...)
}

var (
	operators = map[token.Token]string{
		token.LSS: "<=", token.LEQ: "<", token.GTR: ">=", token.GEQ: ">", token.EQL: "!=", token.NEQ: "==",
		token.LAND: "||", token.LOR: "&&", token.ADD: "-", token.SUB: "+", token.MUL: "/", token.QUO: "*",
		token.REM: "*",
		token.SHL: ">>", token.SHR: "<<", token.AND: "|", token.OR: "&",
	}
	turned = map[token.Token]string{token.INC: "--", token.DEC: "++", token.ADD_ASSIGN: "-=", token.SUB_ASSIGN: "+="}
)

// mutantsOf returns every breakage of a file, in the order of the file. Some do
// not compile.
func mutantsOf(file string, source []byte) (mutants []*mutant, err error) {
	set := token.NewFileSet()
	tree, err := parser.ParseFile(set, file, source, parser.SkipObjectResolution)
	if err != nil {
		return nil, err
	}
	lines := strings.Split(string(source), "\n")
	offset := func(pos token.Pos) int { return set.Position(pos).Offset }
	add := func(start, end int, text string) {
		line := 1 + strings.Count(string(source[:start]), "\n")
		mutants = append(mutants, &mutant{
			file: file, line: line, start: start, end: end, old: string(source[start:end]), text: text,
			context: strings.TrimSpace(lines[line-1]),
		})
	}
	replace := func(node ast.Node, text string) { add(offset(node.Pos()), offset(node.End()), text) }
	operator := func(pos token.Pos, old, text string) { add(offset(pos), offset(pos)+len(old), text) }

	ast.Inspect(tree, func(node ast.Node) bool {
		switch n := node.(type) {
		case *ast.ImportSpec, *ast.Field: // types and tags
			return false
		case *ast.BinaryExpr:
			if text, ok := operators[n.Op]; ok {
				operator(n.OpPos, n.Op.String(), text)
			}
		case *ast.UnaryExpr:
			if n.Op == token.NOT {
				operator(n.OpPos, "!", "")
			}
		case *ast.BasicLit:
			if n.Kind == token.INT {
				replace(n, "("+n.Value+"+1)")
			}
		case *ast.Ident:
			switch n.Name {
			case "true":
				replace(n, "false")
			case "false":
				replace(n, "true")
			}
		case *ast.IncDecStmt:
			operator(n.TokPos, n.Tok.String(), turned[n.Tok])
		case *ast.AssignStmt:
			if text, ok := turned[n.Tok]; ok {
				operator(n.TokPos, n.Tok.String(), text)
			}
			if n.Tok != token.DEFINE {
				replace(n, "_ = 0")
			}
		case *ast.ExprStmt, *ast.DeferStmt, *ast.GoStmt, *ast.SendStmt:
			replace(node, "_ = 0")
		case *ast.BranchStmt:
			if n.Tok == token.BREAK || n.Tok == token.CONTINUE {
				replace(n, "_ = 0")
			}
		case *ast.ReturnStmt:
			if last := len(n.Results) - 1; last >= 0 {
				if name, ok := n.Results[last].(*ast.Ident); ok && name.Name == "err" {
					replace(name, "nil")
				}
			} else {
				replace(n, "_ = 0")
			}
		case *ast.IfStmt:
			condition := string(source[offset(n.Cond.Pos()):offset(n.Cond.End())])
			replace(n.Cond, "false && ("+condition+")")
			replace(n.Cond, "true || ("+condition+")")
		case *ast.CaseClause:
			if len(n.List) > 1 { // one alternative less
				add(offset(n.List[0].Pos()), offset(n.List[1].Pos()), "")
			}
		}
		return true
	})
	return mutants, nil
}
