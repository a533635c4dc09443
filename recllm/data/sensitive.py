"""Which fields of a profile are about what people are not asked for lightly, by their names."""

import re

_WORDS = """
abortion addiction address age ages ancestry asylum birth birthdate birthday birthplace birthyear blood caste
child children citizenship credit creditscore criminal debt denomination diagnosis disability disabled disease
dob divorced elderly ethnic ethnicity faith female fertility gay gender genetic genome gpa handicap health hiv
household immigrant immigration imprisonment income indigenous kids lat latitude lesbian lgbt lgbtq lon
longitude male marital married maternity medical medication mental migrant military minority nationality
naturalization orientation parent parents parental political politics postal postalcode postcode pregnancy
pregnant pronoun pronouns race racial refugee religion religious salary savings sex sexual sexuality skin
smoker ssn street suicide surname trans transgender tribe tribal union veteran voter wage wealth weight
widowed zip zipcode alter anzahlkinder behinderung einkommen familienstand gehalt geburtsdatum geburtsjahr
geburtstag geschlecht gesundheit herkunft krankheit nationalitaet nationalität partei plz postleitzahl
religionszugehörigkeit staatsangehörigkeit edad embarazada estado_civil etnia genero género ingresos
nacimiento nacionalidad raza religión salario salud sexo âge etat_civil état_civil ethnie genre_sexe grossesse
naissance nationalité revenu revenus salaire santé sexe età idade nascita nascimento reddito religione renda
sesso
"""

SENSITIVE_WORDS = frozenset(_WORDS.split())
"""Words of a name, without case; several that only mean it together are joined by `_`."""

SENSITIVE_PARTS = (
    *("性别", "年龄", "生日", "出生", "民族", "种族", "宗教", "收入", "婚姻", "国籍", "健康", "邮编", "政治"),
    *("性別", "年齢", "誕生", "人種", "年収", "国籍", "宗教", "郵便"),
    *("성별", "나이", "생년", "인종", "종교", "소득"),
    *("пол_", "возраст", "рожден", "национальн", "религ", "доход", "здоров", "семейн"),
)
"""Parts of names in languages that do not divide words, or that bend them."""


def is_sensitive(name: str) -> bool:
    """Whether a field of this name is about age, sex, belief, origin, health, means, family or home.

    Names alone decide, so a harmless name hides what it holds, and some fields are left out that would do no harm.
    """
    divided = re.sub(r"([a-zà-ÿ\d])([A-ZÀ-Þ])", r"\1_\2", name.strip())
    words = [word for word in re.split(r"[\W_\d]+", divided.casefold()) if word]
    joined = {"_".join(words[start : start + 2]) for start in range(len(words))} | {"".join(words)}
    plain = "_".join(words) + "_"
    return bool(SENSITIVE_WORDS & (set(words) | joined)) or any(part in plain for part in SENSITIVE_PARTS)
