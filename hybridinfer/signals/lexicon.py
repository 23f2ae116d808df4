"""The words that the complexity scorer looks for: what a prompt asks for, cues of reasoning, frequent English words.

`TRANSLATIONS` is the one part that is not measured: the scorer is trained on English prompts only, so a word
of another language counts as the English word it translates. No word stands there that opens an English
prompt (`was`, `comment`, `chi`): the ranking of English prompts is the same with and without the table.
"""

from __future__ import annotations

ASKS: tuple[str, ...] = (
    "what", "which", "who", "when", "where", "why", "how",
    "explain", "prove", "derive", "calculate", "compute", "find", "write", "implement", "design",
    "compare", "analyze", "summarize", "translate", "list", "describe", "suppose", "determine",
    "estimate", "evaluate", "solve", "show", "rewrite", "classify",
)  # fmt: skip
"""Words that say what is asked, if they stand among the first twelve."""

_CUES = """
    then after before next finally first second each per every total remaining left twice half times if unless except
    not both either
"""
CUES: frozenset[str] = frozenset(_CUES.split())
CUE_PAIRS = ("more than", "less than", "all of")
"""Words and pairs that hint at several steps, quantities and conditions."""
NEGATIONS = frozenset({"not", "except", "never", "no", "false", "incorrect", "least"})

_COMMON = """
    the of and a to in is was he for it with as his on be at by i this had not are but from or have an they
    which one you were her all she there would their we him been has when who will more no if out so said what up
    its about into than them can only other new some could time these two may then do first any my now such like
    our over man me even most made after also did many before must through back years where much your way well
    down should because each just those people mr how too little state good very make world still own see men
    work long get here between both life being under never day same another know while last might us great old
    year off come since against go came right used take three
"""
COMMON: frozenset[str] = frozenset(_COMMON.split())
"""Frequent English words; a word outside counts as rare."""

_SPACED: dict[str, str] = {
    "what": """qué cuál cuáles quel quelle quels quelles welche welcher welches quale quali qual quais
        что какой какая какое какие каков какова ماذا ما أي क्या""",
    "who": "quién quiénes qui wer quem кто من कौन",
    "when": "cuándo quand wann quando когда متى कब",
    "where": "dónde où wo onde где أين कहाँ",
    "why": "pourquoi warum wieso perché почему зачем لماذا क्यों",
    "how": "cómo wie como как كيف कैसे",
    "explain": """explica explique explicar expliquez expliquer erkläre erklären erläutere spiega spiegare
        объясни объясните اشرح فسر समझाओ समझाइए""",
    "prove": """demuestra demuestre demostrar démontre démontrer démontrez prouve prouver prouvez montrez
        beweise beweisen dimostra dimostrare demonstre докажи докажите доказать أثبت برهن सिद्ध""",
    "derive": "выведи выведите استنتج",
    "calculate": """calcula calcule calcular calculer calculez berechne berechnen calcola calcolare
        вычисли вычислите посчитай рассчитай احسب गणना""",
    "find": "halla hallar encuentra trouve trouver trouvez finde trova trovare encontre найди найдите أوجد ज्ञात",
    "write": "escribe escribir écris écrire écrivez schreibe schreiben scrivi escreva напиши напишите اكتب लिखो लिखें",
    "implement": "implementa implementar implémente implémenter implementiere implementieren реализуй реализуйте",
    "design": "diseña diseñar conçois concevoir entwirf entwerfen progetta projete спроектируй разработай صمم",
    "compare": "compara comparar comparez comparer vergleiche vergleichen confronta сравни сравните قارن तुलना",
    "analyze": "analiza analizar analysez analysiere analysieren analizza analise проанализируй حلل विश्लेषण",
    "summarize": "resumir résume résumer résumez fasse zusammenfassen riassumi resuma перескажи لخص सारांश",
    "translate": """traduce traducir traduis traduire traduisez übersetze übersetzen traduci traduza
        переведи переведите ترجم अनुवाद""",
    "list": "enumera énumère elenca перечисли перечислите اذكر",
    "describe": "décris décrivez beschreibe beschreiben descrivi descreva опиши опишите صف",
    "suppose": "supón supongamos supposons angenommen supponi suponha предположим допустим افترض",
    "determine": "détermine déterminez bestimme bestimmen определи определите حدد",
    "evaluate": "evalúa évalue évaluez bewerte bewerten avalie оцени оцените قيم",
    "solve": "resuelve résous résoudre résolvez löse lösen risolvi resolva реши решите حل हल",
    "show": "muestra montre zeige zeigen mostra mostre покажи أظهر",
    "rewrite": "reescribe réécris réécrire riscrivi reescreva перепиши",
    "classify": "clasifica classifie klassifiziere classifica классифицируй صنف",
}
TRANSLATIONS: dict[str, str] = {word: ask for ask, words in _SPACED.items() for word in words.split()}
"""Lower-case Spanish, French, German, Italian, Portuguese, Russian, Arabic or Hindi word to one of `ASKS`."""

_SPACELESS: dict[str, str] = {
    "what": "什么 什麼 哪 何 무엇",
    "who": "谁 誰 누구",
    "when": "何时 いつ 언제",
    "where": "哪里 どこ 어디",
    "why": "为什么 為什麼 なぜ 왜",
    "how": "怎么 如何 어떻게",
    "explain": "解释 解釋 说明 説明 설명",
    "prove": "证明 證明 証明 증명",
    "calculate": "计算 計算 계산",
    "find": "求出 求め 구하",
    "write": "写 寫 書い 작성",
    "implement": "实现 実装 구현",
    "design": "设计 設計 설계",
    "compare": "比较 比較 비교",
    "analyze": "分析 분석",
    "summarize": "总结 要約 요약",
    "translate": "翻译 翻譯 翻訳 번역",
    "list": "列出 挙げ 나열",
    "solve": "解方程 求解 解い",
    "classify": "分类 分類 분류",
}
SUBSTRINGS: tuple[tuple[str, str], ...] = tuple(
    (word, ask) for ask, words in _SPACELESS.items() for word in words.split()
)
"""Chinese, Japanese and Korean, which write without spaces or glue particles to words, are searched as substrings."""
