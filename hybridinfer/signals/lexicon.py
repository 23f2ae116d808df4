"""Words that say what a prompt asks for, by class and language. The scorer learns a weight per class, not per word.

A class means the same in every language, so what the English training data teaches carries over. Languages
with spaces are looked up word by word; Chinese, Japanese and Korean, which write without spaces or glue
particles to the words, are searched as substrings.
"""

from __future__ import annotations

from typing import Literal, get_args

WordClass = Literal[
    "fact", "reason", "prove", "compute", "create", "design", "analyse", "transform",
    "step", "quantity", "condition", "demand",
]  # fmt: skip
CLASSES: tuple[WordClass, ...] = get_args(WordClass)

_SPACED: dict[WordClass, str] = {
    "fact": """
        what which who whom whose when where name
        qué cuál cuáles quién quiénes cuándo dónde  quel quelle quels quelles quand où
        welche welcher welches wer wann wo  quale quali quando  qual quem onde
        что какой какая какое какие кто когда где  ما من متى أين أي  क्या कौन कब कहाँ""",
    "reason": """
        why how explain describe discuss reason reasoning because justify
        cómo explica explique explicar porqué describe justifica  comment pourquoi explique expliquez expliquer décris justifie
        warum wieso wie erkläre erklären erläutere begründe beschreibe  perché spiega spiegare  como explique
        почему зачем как объясни объясните опиши обоснуй  لماذا كيف اشرح فسر وضح  क्यों कैसे समझाओ""",
    "prove": """
        prove proof show derive verify lemma theorem deduce contradiction induction
        demuestra demuestre demostrar prueba teorema deduce  démontre démontrer démontrez prouve prouver montrer théorème
        beweise beweisen beweis zeige zeigen theorem satz leite  dimostra dimostrare teorema  prove demonstre
        докажи докажите доказать доказательство теорема выведи  أثبت برهن برهان نظرية  सिद्ध""",
    "compute": """
        calculate compute find solve determine evaluate estimate simplify integrate sum total average probability minimum maximum
        calcula calcule calcular resuelve resolver halla hallar encuentra determina probabilidad
        calcule calculer calculez résous résoudre résolvez trouve trouver détermine déterminer probabilité
        berechne berechnen löse lösen bestimme bestimmen finde wahrscheinlichkeit  calcola calcolare risolvi trova  resolva encontre
        вычисли вычислите посчитай найди найдите реши решите определи определите вероятность
        احسب حل أوجد حدد احتمال  गणना हल ज्ञात""",
    "create": """
        write implement create generate build code program function script essay story poem compose
        escribe escribir implementa implementar crea crear genera programa función  écris écrire écrivez implémente crée créer génère fonction
        schreibe schreiben implementiere erstelle erstellen programmiere funktion  scrivi implementa crea  escreva implemente crie
        напиши написать реализуй создай составь функцию программу  اكتب أنشئ نفذ دالة برنامج  लिखो लिखें बनाओ""",
    "design": """
        design plan architecture architect strategy optimize optimise algorithm system propose debug refactor
        diseña diseñar planifica arquitectura estrategia optimiza algoritmo  conçois concevoir planifie architecture stratégie optimise algorithme
        entwirf entwerfen architektur strategie optimiere algorithmus  progetta architettura algoritmo  projete arquitetura
        спроектируй разработай архитектура архитектуру стратегия оптимизируй алгоритм  صمم خطة خوارزمية استراتيجية""",
    "analyse": """
        compare contrast analyze analyse evaluate assess critique interpret infer conclude implications trade-offs versus
        compara comparar analiza analizar evalúa interpreta  compare comparer analyse analyser évalue évaluer interprète
        vergleiche vergleichen analysiere analysieren bewerte bewerten  confronta analizza valuta  analise avalie
        сравни сравните проанализируй оцени анализ  قارن حلل قيم  तुलना विश्लेषण""",
    "transform": """
        translate summarize summarise rewrite rephrase paraphrase classify extract list identify convert format correct fix
        traduce traducir resume resumir reescribe clasifica extrae lista corrige  traduis traduire résume résumer réécris classe extrais liste corrige
        übersetze übersetzen fasse zusammen zusammenfassen klassifiziere extrahiere liste korrigiere
        traduci riassumi  traduza resuma  переведи переведите перескажи кратко извлеки перечисли исправь  ترجم لخص صنف استخرج صحح  अनुवाद""",
    "step": """
        then after before next finally first second third last until while during later again remaining left step steps
        luego después antes finalmente primero segundo mientras paso pasos restante  puis après avant ensuite enfin premier deuxième pendant étape étapes
        dann danach bevor nachdem schließlich zuerst zweite während schritt schritte  poi dopo prima infine passo  depois antes
        затем потом после перед наконец сначала пока шаг шаги шагам  ثم بعد قبل أخيرا أولا خطوة""",
    "quantity": """
        each every per all both total times twice half double third quarter percent many much more less most least
        cada todos total veces doble mitad porcentaje más menos cuántos cuántas  chaque tous total fois double moitié pourcent plus moins combien
        jede jeder jedes alle beide mal doppelt hälfte prozent mehr weniger viele  ogni tutti doppio metà più meno quanti  cada todos
        каждый каждая каждые все раз вдвое половина процент больше меньше сколько  كل جميع ضعف نصف أكثر أقل كم""",
    "condition": """
        if unless suppose assume assuming given whether otherwise let such when where
        si suponga supón dado dada  si suppose supposons sachant  wenn falls angenommen gegeben sei  supponi  suponha
        если пусть предположим дано допустим  إذا لو افترض  यदि अगर""",
    "demand": """
        must should exactly only ensure require requires required need needs constraint constraints limit at avoid always any
        debe deben exactamente asegura  doit doivent exactement seulement  muss müssen genau nur sollte soll
        deve devono esattamente  должен должна должны ровно только нужно  يجب فقط بالضبط  चाहिए केवल""",
}
_SPACELESS: dict[WordClass, str] = {
    "fact": "什么 哪 谁 何时 哪里 什麼 誰 何 いつ どこ 무엇 누구 언제 어디",
    "reason": "为什么 为何 怎么 如何 解释 说明 描述 為什麼 解釋 なぜ どうして 説明 왜 어떻게 설명",
    "prove": "证明 推导 定理 證明 証明 導出 증명 정리",
    "compute": "计算 求解 求出 解方程 概率 計算 確率 계산 구하 확률",
    "create": "写 编写 实现 创建 生成 函数 程序 寫 書い 作成 実装 関数 작성 구현 만들",
    "design": "设计 架构 策略 优化 算法 方案 設計 戦略 最適化 アルゴリズム 설계 전략 알고리즘",
    "analyse": "比较 分析 评估 对比 评价 比較 評価 비교 분석 평가",
    "transform": "翻译 总结 改写 提取 分类 列出 摘要 翻譯 翻訳 要約 抽出 번역 요약 추출",
    "step": "然后 之后 之前 首先 其次 最后 步骤 剩下 次に まず 最後 その後 다음 먼저 마지막 단계",
    "quantity": "每 所有 一共 总共 倍 一半 百分 多少 各 すべて 合計 半分 何個 いくつ 모든 각각 절반 몇",
    "condition": "如果 假设 若 已知 假如 もし 仮定 とする 만약 가정",
    "demand": "必须 应该 只 恰好 要求 至少 至多 必ず のみ だけ 반드시 정확히",
}

WORDS: dict[str, WordClass] = {}
"""Lower-case word to class; a word that several lists name belongs to the first of them."""
for _class, _text in _SPACED.items():
    for _word in _text.split():
        WORDS.setdefault(_word, _class)

SUBSTRINGS: tuple[tuple[str, WordClass], ...] = tuple(
    (word, name) for name, text in _SPACELESS.items() for word in text.split()
)

_COMMON = """
    the of and a to in is was he for it with as his on be at by i this had not are but from or have an they which one you
    were her all she there would their we him been has when who will more no if out so what up its about into than them
    can only other some could these two may then do any my now such me your how where does did am please give using
"""
COMMON: frozenset[str] = frozenset(_COMMON.split())
"""Frequent English words: a text with one of them among six words is taken for English."""
